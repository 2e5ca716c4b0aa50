"""The ledger: clients of the Directory, the Notary and the Assets, and the sender of transactions."""
