"""What Salvo promises, as sentences that run: unit, contracts, integration, chaos, acceptance."""
