// Package elastic is an Elasticsearch cluster of 7.10.2, 7.17.29 or 8.15.1, in
// Go alone: enough of it to migrate indices by remote _reindex and to prove the
// result, with the replies, errors and traps of real servers. Package
// elastictest holds the cases that this one and real servers both pass.
//
// It does: index creation with settings, mappings, analyzers and aliases, from
// composable, component and legacy templates, and their refusals; dynamic mapping and type checks; bulk, documents, versions and
// sequence numbers per shard, sharded by Elasticsearch's own routing; refresh
// (a search sees nothing newer); search, count, scroll, point in time; _stats;
// _analyze; _reindex, local and remote, with tasks, throttle, cancel, retries and
// stored results; users, privileges, document-level security; restarts with new
// settings, which lose tasks and scrolls and refuse what a node refuses.
//
// It also reaches out, through Config.Remote and Config.Dial: ldap and
// active_directory realms ask a directory, with role mappings by API and logins
// remembered for 20 minutes; Watcher executes a watch that comes with the
// request; a plugin keeps up with its remote dictionary.
//
// It does not, and says so with HTTP 501 and the type
// unsupported_by_embedded_elasticsearch (a setting: by not booting): any other
// path; scripts and slices in _reindex, and pipelines but for the refusal of one that
// does not exist; bulk updates; queries beside
// match, term, terms, ids, range, bool, exists, prefix, constant_score, match_all
// and match_none; aggregations beside max, min and value_count; nested and other
// rarer field types, null_value, copy_to and normalizers; analysis beyond
// tokenizers with lowercase; date math; filter_path; API keys and
// tokens; field-level security.
//
//	Watcher   stored watches; inputs beside simple and none, conditions beside
//	          always and never, actions beside webhook; transforms, templates,
//	          the mode skip, proxies, redirects
//	realms    types beside file, native, ldap and active_directory; delegated
//	          authorization, further metadata, load balancing, certificates of
//	          their own, role_mapping.yml
//	roles     defining them by API (Config.Roles does); role_templates, /regexps/
//
// It is not exact in: scores (one per matching clause, not BM25); ik_smart and
// ik_max_word, which cut as standard does, having no dictionary; a Plugin's
// dictionary, whose words are cut out of standard's; the 8.x texts and all of
// Watcher's, which were read, not seen; columns in parse errors; the order of a
// directory user's roles, which is sorted here and hashed there; the digits of a
// few doubles that Java 17 prints longer than needed; ?refresh=wait_for, which
// refreshes at once; wait_for_active_shards and health's waits, which are answered
// at once, too; _cat, which prints no loads; q=, which knows words only; docs.deleted,
// which is 0; _aliases, which is not atomic; the order of overlapping
// templates, which is that of their names; _resolve/index, which knows no closed indices and no data streams. Watcher is off unless a
// setting switches it on, as on Alibaba Cloud.
package elastic
