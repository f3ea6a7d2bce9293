"""Storage: are the disks those that were defined, and do they keep what is written?"""
