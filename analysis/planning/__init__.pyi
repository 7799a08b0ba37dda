from .pilot import Pilot as Pilot
from .pilot import stated as stated
from .plan import Option as Option
from .plan import Plan as Plan
from .plan import Records as Records
from .power import Question as Question
