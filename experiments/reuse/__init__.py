"""What it saves to embed once and to keep finished cells."""
