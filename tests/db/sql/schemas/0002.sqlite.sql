BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE architecture (
	id VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	trial_id VARCHAR(64) NOT NULL, 
	copied_from VARCHAR(64), 
	study_key VARCHAR(64) NOT NULL, 
	owner TEXT NOT NULL, 
	name TEXT NOT NULL, 
	document JSON NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	tasks JSON NOT NULL, 
	backbone TEXT NOT NULL, 
	dataset TEXT NOT NULL, 
	madds BIGINT NOT NULL, 
	params BIGINT NOT NULL, 
	budget_madds BIGINT, 
	seed BIGINT NOT NULL, 
	metrics JSON, 
	delta_m FLOAT, 
	created_at VARCHAR(27) NOT NULL, latency_ms FLOAT, 
	CONSTRAINT pk_architecture PRIMARY KEY (id), 
	CONSTRAINT fk_architecture_job_id FOREIGN KEY(job_id) REFERENCES job (id), 
	CONSTRAINT fk_architecture_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id), 
	CONSTRAINT uq_architecture_trial_id UNIQUE (trial_id), 
	CONSTRAINT ck_architecture_costs CHECK (madds >= 0 AND params >= 0)
);
INSERT INTO "architecture" VALUES('arch_ca8a71a9fcbdf889d11f','srch_c726bd2ddef954fdd5f8','tria_c96d7f6af85e7b5cbeb5',NULL,'study','ann','single-left','{"tree":[]}','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','["left"]','tiny4','digits',10,5,NULL,0,'{"left":{"value":0.5}}',0.0,'2026-11-22T09:12:27.800658Z',NULL);
CREATE TABLE architecture_task (
	architecture_id VARCHAR(64) NOT NULL, 
	task TEXT NOT NULL, 
	CONSTRAINT pk_architecture_task PRIMARY KEY (architecture_id, task), 
	CONSTRAINT fk_architecture_task_architecture_id FOREIGN KEY(architecture_id) REFERENCES architecture (id)
);
INSERT INTO "architecture_task" VALUES('arch_ca8a71a9fcbdf889d11f','left');
CREATE TABLE attempt (
	id VARCHAR(64) NOT NULL, 
	trial_id VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	worker_id TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	reason VARCHAR(32), 
	message TEXT NOT NULL, 
	lease_until VARCHAR(27) NOT NULL, 
	heartbeat_at VARCHAR(27) NOT NULL, 
	started_at VARCHAR(27) NOT NULL, 
	ended_at VARCHAR(27), 
	stage TEXT NOT NULL, 
	step BIGINT NOT NULL, 
	total_steps BIGINT NOT NULL, 
	CONSTRAINT pk_attempt PRIMARY KEY (id), 
	CONSTRAINT fk_attempt_job_id FOREIGN KEY(job_id) REFERENCES job (id), 
	CONSTRAINT fk_attempt_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id), 
	CONSTRAINT uq_attempt_trial_id_number UNIQUE (trial_id, number), 
	CONSTRAINT ck_attempt_ended CHECK ((ended_at IS NULL) = (state = 'RUNNING')), 
	CONSTRAINT ck_attempt_number CHECK (number >= 1), 
	CONSTRAINT ck_attempt_state CHECK (state IN ('RUNNING', 'SUCCEEDED', 'FAILED', 'RELEASED', 'LOST'))
);
INSERT INTO "attempt" VALUES('attm_fb83920ee1270aee8797','tria_c96d7f6af85e7b5cbeb5','srch_c726bd2ddef954fdd5f8',1,'w','SUCCEEDED',NULL,'','2026-11-22T09:13:57.776172Z','2026-11-22T09:12:27.776172Z','2026-11-22T09:12:27.759933Z','2026-11-22T09:12:27.800658Z','train',1,2);
CREATE TABLE audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at VARCHAR(27) NOT NULL, 
	owner TEXT NOT NULL, 
	token_id TEXT NOT NULL, 
	action TEXT NOT NULL, 
	resource TEXT NOT NULL
);
INSERT INTO "audit" VALUES(1,'2026-11-22T09:12:27.847991Z','ann','t1','cancel','srch_4243468df1337b4bc22f');
CREATE TABLE event (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id VARCHAR(64) NOT NULL, 
	seq INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	data JSON NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT fk_event_job_id FOREIGN KEY(job_id) REFERENCES job (id), 
	CONSTRAINT uq_event_job_id_seq UNIQUE (job_id, seq), 
	CONSTRAINT ck_event_seq CHECK (seq >= 1)
);
INSERT INTO "event" VALUES(1,'srch_c726bd2ddef954fdd5f8',1,'state','{"state":"QUEUED","reason":null,"message":""}','2026-11-22T09:12:27.747395Z');
INSERT INTO "event" VALUES(2,'srch_c726bd2ddef954fdd5f8',2,'trial','{"trial_id":"tria_c96d7f6af85e7b5cbeb5","name":"single-left","state":"RUNNING","attempt":1,"reason":null}','2026-11-22T09:12:27.759933Z');
INSERT INTO "event" VALUES(3,'srch_c726bd2ddef954fdd5f8',3,'state','{"state":"RUNNING","reason":null,"message":""}','2026-11-22T09:12:27.759933Z');
INSERT INTO "event" VALUES(4,'srch_c726bd2ddef954fdd5f8',4,'progress','{"trial_id":"tria_c96d7f6af85e7b5cbeb5","stage":"train","step":1,"total_steps":2,"progress":0.5}','2026-11-22T09:12:27.776172Z');
INSERT INTO "event" VALUES(5,'srch_c726bd2ddef954fdd5f8',5,'metric','{"trial_id":"tria_c96d7f6af85e7b5cbeb5","points":[{"name":"loss","step":1,"value":0.25}]}','2026-11-22T09:12:27.781336Z');
INSERT INTO "event" VALUES(6,'srch_c726bd2ddef954fdd5f8',6,'log','{"trial_id":"tria_c96d7f6af85e7b5cbeb5","lines":[{"seq":1,"text":"a line"}]}','2026-11-22T09:12:27.782756Z');
INSERT INTO "event" VALUES(7,'srch_c726bd2ddef954fdd5f8',7,'trial','{"trial_id":"tria_c96d7f6af85e7b5cbeb5","name":"single-left","state":"SUCCEEDED","attempt":1,"reason":null}','2026-11-22T09:12:27.800658Z');
INSERT INTO "event" VALUES(8,'srch_c726bd2ddef954fdd5f8',8,'front','{"architecture_id":"arch_ca8a71a9fcbdf889d11f","name":"single-left","madds":10,"delta_m":0.0}','2026-11-22T09:12:27.800658Z');
INSERT INTO "event" VALUES(9,'srch_c726bd2ddef954fdd5f8',9,'state','{"state":"SUCCEEDED","reason":null,"message":""}','2026-11-22T09:12:27.800658Z');
INSERT INTO "event" VALUES(10,'srch_acd2e17834d0e774af85',1,'state','{"state":"QUEUED","reason":null,"message":""}','2026-11-22T09:12:27.813796Z');
INSERT INTO "event" VALUES(11,'srch_4243468df1337b4bc22f',1,'state','{"state":"QUEUED","reason":null,"message":""}','2026-11-22T09:12:27.824567Z');
INSERT INTO "event" VALUES(12,'srch_4243468df1337b4bc22f',2,'trial','{"trial_id":"tria_e0ff2c40eee63846c69a","name":"60pct-s0","state":"CANCELLED","attempt":0,"reason":"user_cancel"}','2026-11-22T09:12:27.828191Z');
INSERT INTO "event" VALUES(13,'srch_4243468df1337b4bc22f',3,'state','{"state":"CANCELLED","reason":"user_cancel","message":"A person asked to cancel it."}','2026-11-22T09:12:27.828191Z');
CREATE TABLE file (
	trial_id VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	path TEXT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	num_bytes BIGINT NOT NULL, 
	attempt INTEGER NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_file PRIMARY KEY (trial_id, name), 
	CONSTRAINT fk_file_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id), 
	CONSTRAINT ck_file_num_bytes CHECK (num_bytes >= 0)
);
INSERT INTO "file" VALUES('tria_c96d7f6af85e7b5cbeb5','weights','trials/x','0000000000000000000000000000000000000000000000000000000000000000',7,1,'2026-11-22T09:12:27.788493Z');
CREATE TABLE idempotency_key (
	owner TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	method VARCHAR(16) NOT NULL, 
	path TEXT NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64), 
	status INTEGER NOT NULL, 
	headers JSON NOT NULL, 
	body BLOB NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_idempotency_key PRIMARY KEY (owner, "key"), 
	CONSTRAINT fk_idempotency_key_job_id FOREIGN KEY(job_id) REFERENCES job (id)
);
INSERT INTO "idempotency_key" VALUES('ann','kept-key-of-16-chars','POST','/api/v1/searches','0000000000000000000000000000000000000000000000000000000000000000','srch_c726bd2ddef954fdd5f8',202,'{"Location":"/x"}',X'7B2261223A317D','2026-11-22T09:12:27.747395Z');
CREATE TABLE job (
	id VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	owner TEXT NOT NULL, 
	name TEXT NOT NULL, 
	labels JSON NOT NULL, 
	notes TEXT NOT NULL, 
	spec JSON NOT NULL, 
	spec_hash VARCHAR(64) NOT NULL, 
	study_key VARCHAR(64) NOT NULL, 
	dataset TEXT, 
	backbone TEXT, 
	priority INTEGER NOT NULL, 
	cpus FLOAT NOT NULL, 
	gpus FLOAT NOT NULL, 
	max_attempts INTEGER NOT NULL, 
	deadline_seconds FLOAT, 
	state VARCHAR(16) NOT NULL, 
	reason VARCHAR(32), 
	message TEXT NOT NULL, 
	stop_requested VARCHAR(16), 
	stop_reason VARCHAR(32), 
	stop_at VARCHAR(27), 
	retry_of VARCHAR(64), 
	architecture_id VARCHAR(64), 
	created_at VARCHAR(27) NOT NULL, 
	started_at VARCHAR(27), 
	finished_at VARCHAR(27), 
	deadline_at VARCHAR(27), 
	deleted_at VARCHAR(27), 
	unfit_since VARCHAR(27), 
	trials_total INTEGER NOT NULL, 
	trials_waiting INTEGER NOT NULL, 
	trials_running INTEGER NOT NULL, 
	trials_succeeded INTEGER NOT NULL, 
	trials_failed INTEGER NOT NULL, 
	trials_cancelled INTEGER NOT NULL, 
	progress FLOAT NOT NULL, 
	best_delta_m FLOAT, 
	last_event INTEGER NOT NULL, 
	last_log INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	CONSTRAINT pk_job PRIMARY KEY (id), 
	CONSTRAINT ck_job_counts CHECK (max_attempts >= 1 AND version >= 1), 
	CONSTRAINT ck_job_finished CHECK ((finished_at IS NULL) = (state IN ('QUEUED', 'RUNNING', 'CANCELLING'))), 
	CONSTRAINT ck_job_kind CHECK (kind IN ('search', 'retrain', 'export')), 
	CONSTRAINT ck_job_priority CHECK (priority BETWEEN -100 AND 100), 
	CONSTRAINT ck_job_rolled_up CHECK ((state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')) = (trials_waiting + trials_running = 0)), 
	CONSTRAINT ck_job_state CHECK (state IN ('QUEUED', 'RUNNING', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'CANCELLED')), 
	CONSTRAINT ck_job_stop_requested CHECK (stop_requested IN ('cancel', 'kill')), 
	CONSTRAINT ck_job_trials CHECK (trials_total = trials_waiting + trials_running + trials_succeeded + trials_failed + trials_cancelled), 
	CONSTRAINT ck_job_trials_left CHECK (trials_waiting >= 0 AND trials_running >= 0)
);
INSERT INTO "job" VALUES('srch_c726bd2ddef954fdd5f8','search','ann','kept','{"team":"red"}','','{"dataset":"digits","tasks":["left","right"],"backbone":"tiny4"}','0000000000000000000000000000000000000000000000000000000000000000','study','digits','tiny4',0,1.0,0.0,3,NULL,'SUCCEEDED',NULL,'',NULL,NULL,NULL,NULL,NULL,'2026-11-22T09:12:27.747395Z','2026-11-22T09:12:27.759933Z','2026-11-22T09:12:27.800658Z',NULL,NULL,NULL,1,0,0,1,0,0,1.0,0.0,9,1,4);
INSERT INTO "job" VALUES('srch_acd2e17834d0e774af85','search','ann','kept','{"team":"red"}','','{"dataset":"digits","tasks":["left","right"],"backbone":"tiny4"}','0000000000000000000000000000000000000000000000000000000000000000','study','digits','tiny4',3,1.0,0.0,3,1000000000.0,'QUEUED',NULL,'',NULL,NULL,NULL,NULL,NULL,'2026-11-22T09:12:27.813796Z',NULL,NULL,'2058-07-31T10:59:07.813796Z',NULL,NULL,1,1,0,0,0,0,0.0,NULL,1,0,1);
INSERT INTO "job" VALUES('srch_4243468df1337b4bc22f','search','ann','kept','{"team":"red"}','','{"dataset":"digits","tasks":["left","right"],"backbone":"tiny4"}','0000000000000000000000000000000000000000000000000000000000000000','study','digits','tiny4',0,1.0,0.0,3,NULL,'CANCELLED','user_cancel','A person asked to cancel it.','cancel','user_cancel','2026-11-22T09:12:27.828191Z',NULL,NULL,'2026-11-22T09:12:27.824567Z',NULL,'2026-11-22T09:12:27.828191Z',NULL,NULL,NULL,1,0,0,0,0,1,0.0,NULL,3,0,2);
CREATE TABLE job_label (
	job_id VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_job_label PRIMARY KEY (job_id, name), 
	CONSTRAINT fk_job_label_job_id FOREIGN KEY(job_id) REFERENCES job (id)
);
INSERT INTO "job_label" VALUES('srch_c726bd2ddef954fdd5f8','team','red');
INSERT INTO "job_label" VALUES('srch_acd2e17834d0e774af85','team','red');
INSERT INTO "job_label" VALUES('srch_4243468df1337b4bc22f','team','red');
CREATE TABLE job_task (
	job_id VARCHAR(64) NOT NULL, 
	task TEXT NOT NULL, 
	CONSTRAINT pk_job_task PRIMARY KEY (job_id, task), 
	CONSTRAINT fk_job_task_job_id FOREIGN KEY(job_id) REFERENCES job (id)
);
INSERT INTO "job_task" VALUES('srch_c726bd2ddef954fdd5f8','left');
INSERT INTO "job_task" VALUES('srch_c726bd2ddef954fdd5f8','right');
INSERT INTO "job_task" VALUES('srch_acd2e17834d0e774af85','left');
INSERT INTO "job_task" VALUES('srch_acd2e17834d0e774af85','right');
INSERT INTO "job_task" VALUES('srch_4243468df1337b4bc22f','left');
INSERT INTO "job_task" VALUES('srch_4243468df1337b4bc22f','right');
CREATE TABLE log (
	job_id VARCHAR(64) NOT NULL, 
	seq INTEGER NOT NULL, 
	trial_id VARCHAR(64) NOT NULL, 
	attempt INTEGER NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	text TEXT NOT NULL, 
	CONSTRAINT pk_log PRIMARY KEY (job_id, seq), 
	CONSTRAINT fk_log_job_id FOREIGN KEY(job_id) REFERENCES job (id)
);
INSERT INTO "log" VALUES('srch_c726bd2ddef954fdd5f8',1,'tria_c96d7f6af85e7b5cbeb5',1,'2026-11-22T09:12:27.782756Z','a line');
CREATE TABLE metric (
	trial_id VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	step BIGINT NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	value FLOAT NOT NULL, 
	attempt INTEGER NOT NULL, 
	CONSTRAINT pk_metric PRIMARY KEY (trial_id, name, step), 
	CONSTRAINT fk_metric_job_id FOREIGN KEY(job_id) REFERENCES job (id), 
	CONSTRAINT fk_metric_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id)
);
INSERT INTO "metric" VALUES('tria_c96d7f6af85e7b5cbeb5','loss',1,'srch_c726bd2ddef954fdd5f8',0.25,1);
CREATE TABLE result (
	trial_id VARCHAR(64) NOT NULL, 
	attempt_id VARCHAR(64), 
	origin_trial_id VARCHAR(64), 
	study_key VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	name TEXT NOT NULL, 
	document JSON NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_result PRIMARY KEY (trial_id), 
	CONSTRAINT fk_result_attempt_id FOREIGN KEY(attempt_id) REFERENCES attempt (id), 
	CONSTRAINT fk_result_origin_trial_id FOREIGN KEY(origin_trial_id) REFERENCES trial (id), 
	CONSTRAINT fk_result_trial_id FOREIGN KEY(trial_id) REFERENCES trial (id), 
	CONSTRAINT ck_result_origin CHECK ((attempt_id IS NULL) <> (origin_trial_id IS NULL))
);
INSERT INTO "result" VALUES('tria_c96d7f6af85e7b5cbeb5','attm_fb83920ee1270aee8797',NULL,'study','single','single-left','{"metrics":{"left":{"metric":"accuracy","value":0.5,"higher_is_better":true}}}','2026-11-22T09:12:27.800658Z');
CREATE TABLE token (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	scopes JSON NOT NULL, 
	secret_sha256 VARCHAR(64) NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	expires_at VARCHAR(27), 
	last_used_at VARCHAR(27), 
	revoked_at VARCHAR(27), 
	CONSTRAINT pk_token PRIMARY KEY (id)
);
INSERT INTO "token" VALUES('t1','kept','ann','admin','["admin"]','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2026-11-22T09:12:27.839673Z',NULL,NULL,NULL);
CREATE TABLE trial (
	id VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	position INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	name TEXT NOT NULL, 
	spec JSON NOT NULL, 
	reuse_key VARCHAR(128), 
	seed BIGINT NOT NULL, 
	budget_madds BIGINT, 
	state VARCHAR(16) NOT NULL, 
	reason VARCHAR(32), 
	message TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	failures INTEGER NOT NULL, 
	not_before VARCHAR(27), 
	stage TEXT NOT NULL, 
	step BIGINT NOT NULL, 
	total_steps BIGINT NOT NULL, 
	progress_at VARCHAR(27), 
	reused_from VARCHAR(64), 
	created_at VARCHAR(27) NOT NULL, 
	started_at VARCHAR(27), 
	finished_at VARCHAR(27), 
	CONSTRAINT pk_trial PRIMARY KEY (id), 
	CONSTRAINT fk_trial_job_id FOREIGN KEY(job_id) REFERENCES job (id), 
	CONSTRAINT uq_trial_job_id_name UNIQUE (job_id, name), 
	CONSTRAINT uq_trial_job_id_position UNIQUE (job_id, position), 
	CONSTRAINT ck_trial_counts CHECK (attempts >= 0 AND failures >= 0 AND failures <= attempts), 
	CONSTRAINT ck_trial_state CHECK (state IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED'))
);
INSERT INTO "trial" VALUES('tria_c96d7f6af85e7b5cbeb5','srch_c726bd2ddef954fdd5f8',0,'single','single-left','{}','key',0,NULL,'SUCCEEDED',NULL,'',1,0,NULL,'train',1,2,'2026-11-22T09:12:27.776172Z',NULL,'2026-11-22T09:12:27.747395Z','2026-11-22T09:12:27.759933Z','2026-11-22T09:12:27.800658Z');
INSERT INTO "trial" VALUES('tria_d5135a91120fbac5f009','srch_acd2e17834d0e774af85',0,'candidate','60pct-s0','{}',NULL,0,NULL,'QUEUED',NULL,'',0,0,NULL,'',0,0,NULL,NULL,'2026-11-22T09:12:27.813796Z',NULL,NULL);
INSERT INTO "trial" VALUES('tria_e0ff2c40eee63846c69a','srch_4243468df1337b4bc22f',0,'candidate','60pct-s0','{}',NULL,0,NULL,'CANCELLED','user_cancel','A person asked to cancel it.',0,0,NULL,'',0,0,NULL,NULL,'2026-11-22T09:12:27.824567Z',NULL,'2026-11-22T09:12:27.828191Z');
CREATE TABLE worker (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	version TEXT NOT NULL, 
	cpus FLOAT NOT NULL, 
	gpus FLOAT NOT NULL, 
	first_seen_at VARCHAR(27) NOT NULL, 
	last_seen_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_worker PRIMARY KEY (id)
);
INSERT INTO "worker" VALUES('w','w','0.1',1.0,0.0,'2026-11-22T09:12:27.759933Z','2026-11-22T09:12:27.759933Z');
CREATE INDEX ix_job_by_created_at ON job (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_job_by_name ON job (name, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_job_by_owner ON job (owner, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_job_by_priority ON job (priority, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_job_by_state ON job (state, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_job_deadline ON job (deadline_at) WHERE state IN ('QUEUED', 'RUNNING', 'CANCELLING') AND deadline_at IS NOT NULL;
CREATE INDEX ix_job_open ON job (owner, state) WHERE state IN ('QUEUED', 'RUNNING', 'CANCELLING');
CREATE INDEX ix_job_running ON job (owner, trials_running) WHERE trials_running > 0;
CREATE INDEX ix_job_waiting ON job (priority, owner, created_at, id, cpus, gpus, deadline_at) WHERE trials_waiting > 0 AND stop_requested IS NULL;
CREATE INDEX ix_token_owner ON token (owner);
CREATE INDEX ix_worker_last_seen_at ON worker (last_seen_at);
CREATE INDEX ix_idempotency_key_created_at ON idempotency_key (created_at);
CREATE INDEX ix_job_label_name_value ON job_label (name, value, job_id);
CREATE INDEX ix_job_task_task ON job_task (task, job_id);
CREATE INDEX ix_trial_reuse_key ON trial (reuse_key, state) WHERE reuse_key IS NOT NULL;
CREATE UNIQUE INDEX uq_trial_running_twin ON trial (reuse_key) WHERE state = 'RUNNING';
CREATE INDEX ix_architecture_created_at ON architecture (created_at, id);
CREATE INDEX ix_architecture_delta_m ON architecture (delta_m, id);
CREATE INDEX ix_architecture_job_id ON architecture (job_id);
CREATE INDEX ix_architecture_madds ON architecture (madds, id);
CREATE INDEX ix_architecture_params ON architecture (params, id);
CREATE INDEX ix_architecture_unscored ON architecture (study_key) WHERE delta_m IS NULL AND metrics IS NOT NULL;
CREATE INDEX ix_attempt_job_running ON attempt (job_id) WHERE state = 'RUNNING';
CREATE INDEX ix_attempt_lease ON attempt (lease_until) WHERE state = 'RUNNING';
CREATE UNIQUE INDEX uq_attempt_running ON attempt (trial_id) WHERE state = 'RUNNING';
CREATE INDEX ix_metric_job_id ON metric (job_id);
CREATE INDEX ix_architecture_task_task ON architecture_task (task, architecture_id);
CREATE INDEX ix_result_study ON result (study_key, kind, name) WHERE origin_trial_id IS NULL;
CREATE INDEX ix_job_of_state ON job (state, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_job_of_study ON job (study_key, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_job_deleted ON job (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX ix_job_ended ON job (finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX ix_architecture_study_created_at ON architecture (study_key, created_at, id);
CREATE INDEX ix_architecture_study_delta_m ON architecture (study_key, delta_m, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('event',13);
INSERT INTO "sqlite_sequence" VALUES('audit',1);
COMMIT;
