"""The operations that azure-mgmt-loganalytics has, by the names of Azure's own description, in lower case."""

import inspect

from azure.mgmt.loganalytics import operations

for name, group in inspect.getmembers(operations, inspect.isclass):
    if not name.endswith("Operations"):
        continue
    group_name = name.removesuffix("Operations").lower() or "operations"
    for call, found in inspect.getmembers(group, inspect.isfunction):
        if not call.startswith("_"):
            print(group_name + "_" + call.removeprefix("begin_").replace("_", ""))
