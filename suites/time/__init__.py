"""Time: does the guest keep it by a source that the hypervisor offers?"""
