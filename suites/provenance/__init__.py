"""Provenance: is this the vendor's system, with the vendor's kernel?"""
