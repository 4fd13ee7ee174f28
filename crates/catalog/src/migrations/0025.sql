-- As data collection rules do: what is told of alerts and documents takes the rights on it along, so that a name that is free again gives
-- nobody what somebody had on the one before it. Who may read an action group reads the secrets in its addresses.
CREATE TRIGGER alert_rule_takes_its_rights_along AFTER DELETE ON alert_rules
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || OLD.subscription || '/resourceGroups/' || OLD.resource_group || '/providers/Microsoft.Insights/scheduledQueryRules/' || OLD.name || '/')) = 1;
END;
CREATE TRIGGER action_group_takes_its_rights_along AFTER DELETE ON action_groups
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || OLD.subscription || '/resourceGroups/' || OLD.resource_group || '/providers/Microsoft.Insights/actionGroups/' || OLD.name || '/')) = 1;
END;
CREATE TRIGGER workbook_takes_its_rights_along AFTER DELETE ON documents WHEN OLD.kind = 'workbook'
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || OLD.subscription || '/resourceGroups/' || OLD.resource_group || '/providers/Microsoft.Insights/workbooks/' || OLD.name || '/')) = 1;
END;
CREATE TRIGGER query_pack_takes_its_rights_along AFTER DELETE ON documents WHEN OLD.kind = 'pack'
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || OLD.subscription || '/resourceGroups/' || OLD.resource_group || '/providers/Microsoft.OperationalInsights/queryPacks/' || OLD.name || '/')) = 1;
END;
CREATE TRIGGER pack_query_takes_its_rights_along AFTER DELETE ON documents WHEN OLD.kind = 'packQuery'
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || OLD.subscription || '/resourceGroups/' || OLD.resource_group || '/providers/Microsoft.OperationalInsights/queryPacks/'
    || (SELECT name FROM documents WHERE id = OLD.parent) || '/queries/' || OLD.name || '/')) = 1;
END;
