from .importing import Request as Request, import_runs as import_runs, imported as imported
