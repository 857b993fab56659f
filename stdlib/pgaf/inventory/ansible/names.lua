-- Which variables of Ansible's stand for which keys of an inventory. docs/moving-from-ansible.md has the same table.

local names = {}

---@class pgaf.ansible.Mapping
---@field [1] string the inventory's key; for "each", "data" and "monitor" that of the node
---@field [2] "formation"|"each"|"data"|"monitor" of what
---@field [3] string the type it is brought to
---@field [4] string variables, the first that is defined counts

-- In this order, because some depend on others.
---@type pgaf.ansible.Mapping[]
names.KEYS = {
  { "environment", "formation", "environment", "pgaf_environment pgaf_env deployment_environment environment_name" },
  { "formation", "formation", "text", "pgaf_formation_name pgaf_formation pgaf_cluster_name pgaf_cluster" },
  { "domain", "formation", "text", "pgaf_domain incus_domain lxd_domain dns_domain" },
  { "provider.kind", "formation", "text", "pgaf_provider" },
  { "provider.remote", "formation", "text",
    "incus_remote pgaf_incus_remote ansible_incus_remote lxd_remote ansible_lxd_remote" },
  { "provider.project", "formation", "text",
    "incus_project pgaf_incus_project ansible_incus_project lxd_project ansible_lxd_project" },
  { "provider.profiles", "formation", "list",
    "incus_profiles pgaf_incus_profiles incus_profile pgaf_incus_profile lxd_profiles" },
  { "provider.nic", "formation", "text", "incus_nic pgaf_incus_nic incus_interface pgaf_interface" },
  { "image", "each", "text", "incus_image pgaf_incus_image pgaf_image container_image lxd_image" },
  { "target", "each", "text", "incus_target pgaf_incus_target lxd_target" },
  { "limits.cpu", "each", "cpu", "incus_limits_cpu pgaf_limits_cpu incus_cpu pgaf_cpu container_cpu" },
  { "limits.memory", "each", "text",
    "incus_limits_memory pgaf_limits_memory incus_memory pgaf_memory container_memory" },
  { "port", "monitor", "integer", "pgaf_monitor_port pgaf_pgport pgaf_port pgaf_pg_port postgresql_port pg_port" },
  { "port", "data", "integer",
    "pgaf_node_port pgaf_pgport pgaf_port pgaf_pg_port pgaf_postgres_port postgresql_port pg_port" },
  { "candidate_priority", "data", "integer", "pgaf_candidate_priority candidate_priority" },
  { "replication_quorum", "data", "boolean", "pgaf_replication_quorum replication_quorum" },
  { "postgres.version", "formation", "integer",
    "pgaf_pg_version pgaf_postgres_version pgaf_postgresql_version pgaf_version postgresql_version postgres_version " ..
    "pg_version" },
  { "postgres.source", "formation", "source", "pgaf_package_source pgaf_use_pgdg postgresql_use_pgdg use_pgdg" },
  { "postgres.pgdg.url", "formation", "text", "pgaf_pgdg_url pgaf_apt_url pgdg_repo_url" },
  { "postgres.pgdg.key", "formation", "text", "pgaf_pgdg_key pgaf_pgdg_key_url pgaf_apt_key_url" },
  { "postgres.pgdg.fingerprint", "formation", "text", "pgaf_pgdg_fingerprint pgaf_apt_key_id" },
  { "postgres.pgdg.suite", "formation", "text", "pgaf_pgdg_suite" },
  { "postgres.packages", "formation", "map", "pgaf_package_versions" },
  { "postgres.data_dir", "formation", "text",
    "pgaf_data_dir pgaf_pgdata pgaf_node_pgdata pgaf_data_directory postgresql_data_dir pgdata" },
  { "postgres.settings", "formation", "settings",
    "pgaf_settings pgaf_postgres_settings pgaf_postgresql_settings pgaf_postgresql_conf pgaf_extra_settings " ..
    "postgresql_settings postgresql_parameters postgresql_global_config_options" },
  { "postgres.shared_buffers", "formation", "text", "pgaf_shared_buffers postgresql_shared_buffers" },
  { "postgres.wal_keep_size", "formation", "text", "pgaf_wal_keep_size postgresql_wal_keep_size" },
  { "postgres.max_slot_wal_keep_size", "formation", "text", "pgaf_max_slot_wal_keep_size" },
  { "postgres.wal_retrieve_retry_interval", "formation", "text", "pgaf_wal_retrieve_retry_interval" },
  { "formation_settings.number_sync_standbys", "formation", "integer",
    "pgaf_number_sync_standbys pgaf_formation_number_sync_standbys number_sync_standbys" },
  { "application.user", "formation", "text", "pgaf_app_user pgaf_application_user app_user app_db_user" },
  { "application.database", "formation", "text",
    "pgaf_app_database pgaf_app_db pgaf_app_dbname pgaf_dbname pgaf_database app_database app_db app_db_name" },
  { "application.password", "formation", "secret",
    "pgaf_app_password pgaf_application_password app_password app_db_password" },
  { "application.networks", "formation", "list",
    "pgaf_app_networks pgaf_application_networks pgaf_client_networks pgaf_client_cidrs pgaf_allowed_networks " ..
    "pgaf_hba_networks pgaf_lan" },
  { "operator_networks", "formation", "list", "pgaf_operator_networks pgaf_admin_networks pgaf_admin_cidrs" },
  { "monitor_password", "formation", "secret", "pgaf_monitor_password pgaf_autoctl_node_password" },
  { "replication_password", "formation", "secret", "pgaf_replication_password pgaf_replicator_password" },
}

local TIMERS = {
  "health_check_period", "health_check_timeout", "health_check_retry_delay", "node_considered_unhealthy_timeout",
  "primary_demote_timeout", "startup_grace_period",
}
for _, timer in ipairs(TIMERS) do
  table.insert(names.KEYS, { "timers." .. timer, "formation", "milliseconds", ("pgaf_%s pgaf_monitor_%s %s"):format(
    timer, timer, timer) })
end
for _, number in ipairs { "health_check_max_retries", "enable_sync_wal_log_threshold", "promote_wal_log_threshold" } do
  table.insert(names.KEYS, { "timers." .. number, "formation", "integer", ("pgaf_%s pgaf_monitor_%s %s"):format(
    number, number, number) })
end
table.insert(names.KEYS, { "timers.network_partition_timeout", "formation", "seconds",
  "pgaf_network_partition_timeout network_partition_timeout" })

-- Patterns of groups whose hosts are the monitor, the first data node, or data nodes.
names.MONITOR = { "^monitors?$", "[_-]monitors?$" }
names.PRIMARY = { "^primary$", "^primaries$", "[_-]primary$", "^master$", "[_-]master$" }
names.DATA = {
  "^nodes?$", "[_-]nodes?$", "^data$", "[_-]data$", "^replicas?$", "[_-]replicas?$", "^standbys?$", "[_-]standbys?$",
  "^secondar[yi]e?s?$", "[_-]secondar[yi]e?s?$",
}
names.ROLE = { "pgaf_role", "pgaf_node_role", "pgaf_kind" }
names.MONITOR_HOST = { "pgaf_monitor_host", "pgaf_monitor_hostname", "pgaf_monitor" }

-- What is for Ansible itself, or goes without saying here, and why.
names.NEEDLESS = {
  { "^ansible_connection$", "nodes are reached through Incus" },
  { "^ansible_host$", "nodes are found by their names" },
  { "^ansible_port$", "no ssh" }, { "^ansible_ssh_", "no ssh" }, { "^ansible_user$", "no ssh" },
  { "^ansible_password$", "no ssh" }, { "^ansible_private_key_file$", "no ssh" },
  { "^ansible_become", "each command runs as the user it is for" },
  { "^ansible_python_interpreter$", "no Python is wanted on the nodes" },
  { "^ansible_shell", "the shell is sh" }, { "^ansible_remote_tmp$", "files are renamed beside where they go" },
  { "^ansible_incus_", "see provider" }, { "^ansible_lxd_", "see provider" },
  { "^ansible_group_priority$", "is read where the group is declared, nowhere else, as Ansible does it" },
  { "^pgaf_ssl", "TLS is always on, and verified" }, { "^pgaf_tls", "TLS is always on, and verified" },
  { "^pgaf_auth_method$", "it is always scram-sha-256" }, { "^pgaf_auth$", "it is always scram-sha-256" },
}

-- Of the field: what begins so should have a key.
names.OURS = {
  "^pgaf_", "^pg_auto_failover_", "^autofailover_", "^postgresql_", "^postgres_", "^pg_", "^incus_", "^lxd_",
}

return names
