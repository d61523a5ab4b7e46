"""Where raw rows come from: importers and the simulator write the landing folder, `landing` reads
it.

What belongs here: reading and writing files of other formats. No formula of the payout and no
warehouse.
"""
