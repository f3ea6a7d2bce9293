"""Agent: does the guest's agent answer the hypervisor?"""
