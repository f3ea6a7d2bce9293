"""Memory: does the guest see the memory it was given?"""
