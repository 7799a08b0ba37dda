from .log_growth import settled as settled
