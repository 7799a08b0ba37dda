"""Laws compared by what they forecast.

Contents:
    laws            the laws, and their least-squares fits
    forecast        rolling origins in log time
    confidence_set  the laws that survive
"""
