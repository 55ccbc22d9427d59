"""The stream: from the blockchain's API to minutes in the feature store, losing nothing."""
