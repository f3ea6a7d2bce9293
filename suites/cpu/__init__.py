"""CPU: does the guest see the processors it was given, and who gives them?"""
