"""Service Catalog: products that administrators offer in portfolios, and that users launch as stacks.

names          ids, pages and errors
portfolios     portfolios, who may launch from them, and what constrains their products
products       products, and the versions of each (provisioning artifacts), whose templates are kept in a bucket
launches       what a user sees and launches: paths, provisioned products and their records
service        the operations
Source: the Service Catalog Administrator Guide, "Launch Constraints", and the API Reference.
"""
