"""Life cycle: does the guest survive what a hypervisor does to it?"""
