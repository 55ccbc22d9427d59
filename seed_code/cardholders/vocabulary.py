"""The words from which `generate` composes invented agencies, holders, vendors and descriptions.

Every name is made by combining ordinary words; none is meant to be a real person, agency or company. Merchant
categories are the generic descriptions of ISO 18245 codes.
"""

from __future__ import annotations

INITIALS = "CJMRSDLKTABPGWEHNVFOIYZQUX"

LAST_NAMES = (
    "Mason", "Adams", "Allen", "Baker", "Barnes", "Bell", "Bennett", "Brooks", "Brown", "Bryant", "Butler", "Carter",
    "Clark", "Coleman", "Collins", "Cook", "Cooper", "Cox", "Cruz", "Davis", "Diaz", "Edwards", "Evans", "Fisher",
    "Flores", "Foster", "Garcia", "Gibson", "Gomez", "Gray", "Green", "Griffin", "Hall", "Harris", "Hayes", "Henry",
    "Hill", "Howard", "Hughes", "Jackson", "James", "Jenkins", "Johnson", "Jones", "Jordan", "Kelly", "Kim", "King",
    "Lee", "Lewis", "Long", "Lopez", "Martin", "Miller", "Mitchell", "Moore", "Morgan", "Morris", "Murphy", "Myers",
    "Nelson", "Nguyen", "Ortiz", "Parker", "Patel", "Perez", "Perry", "Phillips", "Powell", "Price", "Ramirez",
    "Reed", "Reyes", "Rivera", "Roberts", "Rogers", "Ross", "Russell", "Sanders", "Scott", "Simmons", "Smith",
    "Stewart", "Sullivan", "Taylor", "Thomas", "Torres", "Turner", "Walker", "Ward", "Watson", "White", "Williams",
    "Wilson", "Wood", "Wright", "Young",
)  # fmt: skip
NAME_STEMS = (
    "Ash", "Beck", "Black", "Brad", "Brent", "Bur", "Cald", "Chad", "Clif", "Corn", "Cran", "Dal", "Dun", "East", "Ed",
    "El", "Fair", "Farn", "Glen", "Gran", "Had", "Hal", "Ham", "Hart", "Haw", "Hol", "Hunt", "Kirk", "Lang", "Lin",
    "Lock", "Mar", "Mel", "Mil", "Nor", "Oak", "Old", "Pem", "Pres", "Rad", "Red", "Rich", "Rock", "Rush", "Sand",
    "Shel", "Stan", "Sut", "Thorn", "Tru", "Wake", "Wal", "War", "Wel", "West", "Whit", "Wil", "Win", "Wood", "York",
)  # fmt: skip
NAME_ENDINGS = (
    "berry", "bourne", "bridge", "brook", "burn", "bury", "by", "combe", "cott", "croft", "dale", "den", "field",
    "ford", "gate", "grove", "ham", "hurst", "land", "ley", "lock", "low", "man", "mere", "mont", "more", "ridge",
    "sey", "shaw", "shire", "side", "son", "stead", "stock", "ston", "stone", "ton", "wald", "ward", "way", "well",
    "wick", "win", "wood", "worth",
)  # fmt: skip

AGENCY_KINDS = (
    "DEPARTMENT OF {}", "{} COMMISSION", "BOARD OF {}", "OFFICE OF {}", "BUREAU OF {}", "{} AUTHORITY",
)  # fmt: skip
AGENCY_SUBJECTS = (
    "AGRICULTURE", "TRANSPORTATION", "TOURISM AND RECREATION", "CORRECTIONS", "HUMAN SERVICES", "MENTAL HEALTH",
    "PUBLIC SAFETY", "WILDLIFE CONSERVATION", "REHABILITATION SERVICES", "VETERANS AFFAIRS", "LIBRARIES", "EDUCATION",
    "ENVIRONMENTAL QUALITY", "EMERGENCY MANAGEMENT", "LABOR", "MINES", "COMMERCE", "HISTORIC PLACES",
    "WATER RESOURCES", "MEDICAL EXAMINERS", "NURSING", "INSURANCE", "BANKING", "AERONAUTICS", "FORESTRY", "ARTS",
)  # fmt: skip
UNIVERSITY_PLACES = ("EASTERN", "WESTERN", "NORTHERN", "SOUTHERN", "CENTRAL", "PRAIRIE", "RED RIVER", "HIGH PLAINS")

# Merchant category, what such vendors are called, the description on the line, share of vendors, and the log of
# how dear its purchases are beside the average.
CATEGORIES: tuple[tuple[str, str, str, float, float], ...] = (
    ("STATIONERY, OFFICE SUPPLIES, PRINTING AND WRITING PAPER", "OFFICE SUPPLY", "GENERAL PURCHASE", 9, -0.1),
    ("BOOK STORES", "BOOKS", "GENERAL PURCHASE", 4, -0.4),
    ("INDUSTRIAL SUPPLIES NOT ELSEWHERE CLASSIFIED", "INDUSTRIAL", "GENERAL PURCHASE", 7, 0.2),
    ("DENTAL/LABORATORY/MEDICAL/OPHTHALMIC HOSP EQIP AND SUP.", "LABORATORY SUPPLY", "GENERAL PURCHASE", 6, 0.6),
    ("HARDWARE STORES", "HARDWARE", "GENERAL PURCHASE", 7, -0.6),
    ("HOME SUPPLY WAREHOUSE STORES", "HOME CENTER", "GENERAL PURCHASE", 5, -0.4),
    ("AUTOMOTIVE PARTS,ACCESSORIES STORES", "AUTO PARTS", "PARTS", 5, -0.2),
    ("GROCERY STORES,AND SUPERMARKETS", "GROCERY", "GENERAL PURCHASE", 6, -0.7),
    ("EATING PLACES AND RESTAURANTS", "GRILL", "FOOD AND BEVERAGE", 7, -0.6),
    ("TELECOMMUNICATION SERVICES", "TELECOM", "MONTHLY SERVICE", 3, 0.1),
    ("UTILITIES,ELECTRIC,GAS,WATER,SANITARY", "UTILITIES", "MONTHLY SERVICE", 4, 0.9),
    ("COMPUTERS, COMPUTER PERIPHERAL EQUIPMENT, SOFTWARE", "COMPUTING", "EQUIPMENT", 5, 0.8),
    ("CHARITABLE AND SOCIAL SERVICE ORGANIZATIONS", "ASSOCIATION", "REGISTRATION", 4, 0.8),
    ("SCHOOLS AND EDUCATIONAL SERVICES", "LEARNING", "REGISTRATION", 3, 0.7),
    ("AIRLINES AND AIR CARRIERS", "AIRWAYS", "AIR TRAVEL", 2, 1.1),
    ("LODGING - HOTELS,MOTELS,AND RESORTS", "HOTEL", "ROOM CHARGES", 5, 0.5),
    ("SERVICE STATIONS", "FUEL STOP", "FUEL", 6, -0.9),
    ("COURIER SERVICES-AIR OR GROUND,FREIGHT FORWARDERS", "COURIER", "FREIGHT", 3, -0.9),
    ("MISCELLANEOUS AND SPECIALTY RETAIL STORES", "SPECIALTY", "GENERAL PURCHASE", 6, -0.1),
    ("LANDSCAPING AND HORTICULTURAL SERVICES", "LANDSCAPE", "SERVICE", 3, 0.6),
)
VENDOR_FORMS = ("{0} {1}", "{0} {1} INC", "{0} {1} CO", "{0} {1} LLC", "{0} & SONS {1}", "{0} {1} #{2}")
