from .log_growth import settled as settled, told_arm as told_arm
