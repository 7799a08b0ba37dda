from .aging import READINGS as READINGS, aged as aged
from .log_growth import pilot_of as pilot_of, settled as settled, told_arm as told_arm
from .speaking import deciding_arms as deciding_arms, judged_arms as judged_arms
from .straightness import DRIVEN as DRIVEN, FAR as FAR, path_ratio as path_ratio
