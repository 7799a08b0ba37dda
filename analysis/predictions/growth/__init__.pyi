from .log_growth import pilot_of as pilot_of, settled as settled, told_arm as told_arm
