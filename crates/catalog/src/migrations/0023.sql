-- As workspaces and clusters do: a rule or an endpoint whose name is free again gives nobody what somebody had on the one before it.
CREATE TRIGGER collection_rule_takes_its_rights_along AFTER DELETE ON collection_rules
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || OLD.subscription || '/resourceGroups/' || OLD.resource_group || '/providers/Microsoft.Insights/dataCollectionRules/' || OLD.name || '/')) = 1;
END;
CREATE TRIGGER collection_endpoint_takes_its_rights_along AFTER DELETE ON collection_endpoints
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || OLD.subscription || '/resourceGroups/' || OLD.resource_group || '/providers/Microsoft.Insights/dataCollectionEndpoints/' || OLD.name || '/')) = 1;
END;

-- Tokens of one workspace became rights at its path, those of workspaces that had been shredded among them. Such a right (it bears its
-- principal's id) is of no workspace that is there now unless that one is the older of the two.
DELETE FROM role_assignments
WHERE id = principal AND scope LIKE '%/providers/microsoft.operationalinsights/workspaces/%'
  AND NOT EXISTS (
    SELECT 1 FROM workspaces w
    WHERE w.shredded_ms IS NULL AND w.created_ms <= role_assignments.created_ms
      AND lower('/subscriptions/' || w.subscription || '/resourceGroups/' || w.resource_group ||
        '/providers/Microsoft.OperationalInsights/workspaces/' || w.name) = role_assignments.scope
  );
