from .absent import absences as absences, happened as happened
from .batch_sizes import (
    critical_by_group as critical_by_group,
    critical_table as critical_table,
    rates_table as rates_table,
    sizes_apart as sizes_apart,
)
from .exponents import exponent_table as exponent_table, exponent_tables as exponent_tables
from .numbers import (
    comparison_rows as comparison_rows,
    critical_numbers as critical_numbers,
    fit_rows as fit_rows,
    input_row as input_row,
    inputs as inputs,
    ladder_rows as ladder_rows,
    law_rows as law_rows,
    plan_numbers as plan_numbers,
    verdict_rows as verdict_rows,
)
from .table import printed as printed
from .tables import (
    ladder_table as ladder_table,
    law_tables as law_tables,
    noise_table as noise_table,
    plan_tables as plan_tables,
)
from .verdicts import answer_tables as answer_tables, verdict_tables as verdict_tables
