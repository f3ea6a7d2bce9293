"""Boot: does the guest come up, say so, and come up again?"""
