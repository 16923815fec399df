"""HTTP/1.1 as a proxy must read it: one reading or none (RFC 9112; mesh contract D.5).

What two readers could take for different messages is refused, never repaired: whoever decides about
a request must see the one that the application sees.
"""
