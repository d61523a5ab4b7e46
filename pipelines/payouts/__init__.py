"""From owed to paid: payout runs, files for the bank, what the bank answers, and where money is."""
