from .tidy import as_table as as_table, write_csv as write_csv
