"""The flow of the money: entries, balances and their history."""
