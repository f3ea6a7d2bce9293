"""Network: are the cards those that were defined, and does data arrive as it was sent?"""
