"""What the project costs: a monthly estimate from the configuration, and the cap on what one execution may spend.

    catalogue.py    every price that is asked for: its service and usage type in AWS's price list
    price_list.py   the prices of a region, from the dated file prices/{region}.json
    refresh.py      writes that file from the AWS Pricing API
    assumptions.py  what a configuration does not tell: how often, how long, how much
    estimate.py     the configuration, the assumptions and the prices as lines of a monthly bill
    spending.py     what an execution's jobs have cost, and may cost; the Lambda function `spending` carries it
    budget.py       `budget` of configs/project.yml as parameters of the stack

`price_list.py` and `spending.py` import nothing but the standard library and this project's errors: a function carries
them.
"""
