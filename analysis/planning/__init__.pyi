from .advice import Advice as Advice, advise as advise
from .pilot import Pilot as Pilot, stated as stated
from .plan import Option as Option, Plan as Plan, Records as Records
from .power import Question as Question
