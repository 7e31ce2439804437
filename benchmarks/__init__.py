"""What a trial costs this machine, as ratios measured in one run. Nothing here is asserted."""
