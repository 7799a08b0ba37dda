from .advice import Continuation as Continuation, continuation as continuation
from .pilot import Pilot as Pilot, stated as stated
from .plan import Option as Option, Plan as Plan, Records as Records
from .power import Question as Question
