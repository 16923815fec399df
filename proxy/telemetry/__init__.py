"""What a proxy tells about its traffic: metrics, access log, traces, requests as they pass.

One entry is made of each request when it is over; everything else is made of entries.
"""
