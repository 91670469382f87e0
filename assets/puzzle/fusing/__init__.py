"""FFN Fusion as an asset: which runs may be fused, and the fused model."""
