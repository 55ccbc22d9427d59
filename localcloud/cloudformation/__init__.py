"""CloudFormation: stacks of the resource types that localcloud's own services, and its leaf, have.

syntax      a template's text -> a document, with every short form written out
template    a document -> a template whose references are known to hold
parameters  the values of a stack's parameters
values      the intrinsic functions
schemas     what CloudFormation knows of a resource type: its properties, and which of them ask for a new resource
plan        what a template would change in a stack
stacks      stacks, their resources and their events in the store
resources/  one class per resource type, which makes, changes and deletes it by calling its service
deployment  carries a change out, and takes it back when it fails
service     the operations
"""
