from .agreement import Agreement as Agreement, Rehearsal as Rehearsal
from .entry import verify as verify
from .modes import modes_alone as modes_alone, modes_together as modes_together
from .toy import Check as Check, Toy as Toy, Verification as Verification, verify_toy as verify_toy
