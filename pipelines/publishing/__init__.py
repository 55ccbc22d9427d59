"""What a new project is made from: the seed of its repository, its template, and the code of its functions.

`seed` assembles the files of a new repository from this working copy, by the manifest template/seed.yml; `templates`
fills the published copy of template/project.yml and checks it; `release` says of what a version consists; `publish`
puts all of it into the account's template bucket.
"""
