--
-- PostgreSQL database dump
--

\restrict sONQdiURxsFEgKlHSxG0l8IMRIKfoRNfT7yK6vUSYokPxZKDoTiUxD2MjcFWku6

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: alembic_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);


--
-- Name: architecture; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.architecture (
    id character varying(64) NOT NULL,
    job_id character varying(64) NOT NULL,
    trial_id character varying(64) NOT NULL,
    copied_from character varying(64),
    study_key character varying(64) NOT NULL,
    owner text NOT NULL,
    name text NOT NULL,
    document json NOT NULL,
    fingerprint character varying(64) NOT NULL,
    tasks json NOT NULL,
    backbone text NOT NULL,
    dataset text NOT NULL,
    madds bigint NOT NULL,
    params bigint NOT NULL,
    budget_madds bigint,
    seed bigint NOT NULL,
    metrics json,
    delta_m double precision,
    created_at timestamp with time zone NOT NULL,
    latency_ms double precision,
    CONSTRAINT ck_architecture_costs CHECK (((madds >= 0) AND (params >= 0)))
);


--
-- Name: architecture_task; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.architecture_task (
    architecture_id character varying(64) NOT NULL,
    task text NOT NULL
);


--
-- Name: attempt; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.attempt (
    id character varying(64) NOT NULL,
    trial_id character varying(64) NOT NULL,
    job_id character varying(64) NOT NULL,
    number integer NOT NULL,
    worker_id text NOT NULL,
    state character varying(16) NOT NULL,
    reason character varying(32),
    message text NOT NULL,
    lease_until timestamp with time zone NOT NULL,
    heartbeat_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    stage text NOT NULL,
    step bigint NOT NULL,
    total_steps bigint NOT NULL,
    begun_at timestamp with time zone,
    CONSTRAINT ck_attempt_ended CHECK (((ended_at IS NULL) = ((state)::text = 'RUNNING'::text))),
    CONSTRAINT ck_attempt_number CHECK ((number >= 1)),
    CONSTRAINT ck_attempt_state CHECK (((state)::text = ANY (ARRAY[('RUNNING'::character varying)::text, ('SUCCEEDED'::character varying)::text, ('FAILED'::character varying)::text, ('RELEASED'::character varying)::text, ('LOST'::character varying)::text])))
);


--
-- Name: audit; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    owner text NOT NULL,
    token_id text NOT NULL,
    action text NOT NULL,
    resource text NOT NULL
);


--
-- Name: audit_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: audit_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.audit_id_seq OWNED BY public.audit.id;


--
-- Name: event; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.event (
    id bigint NOT NULL,
    job_id character varying(64) NOT NULL,
    seq integer NOT NULL,
    kind character varying(16) NOT NULL,
    data json NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_event_seq CHECK ((seq >= 1))
);


--
-- Name: event_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: event_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.event_id_seq OWNED BY public.event.id;


--
-- Name: file; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.file (
    trial_id character varying(64) NOT NULL,
    name text NOT NULL,
    path text NOT NULL,
    sha256 character varying(64) NOT NULL,
    num_bytes bigint NOT NULL,
    attempt integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_file_num_bytes CHECK ((num_bytes >= 0))
);


--
-- Name: idempotency_key; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.idempotency_key (
    owner text NOT NULL,
    key text NOT NULL,
    method character varying(16) NOT NULL,
    path text NOT NULL,
    body_sha256 character varying(64) NOT NULL,
    job_id character varying(64),
    status integer NOT NULL,
    headers json NOT NULL,
    body bytea NOT NULL,
    created_at timestamp with time zone NOT NULL
);


--
-- Name: job; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.job (
    id character varying(64) NOT NULL,
    kind character varying(16) NOT NULL,
    owner text NOT NULL,
    name text NOT NULL,
    labels json NOT NULL,
    notes text NOT NULL,
    spec json NOT NULL,
    spec_hash character varying(64) NOT NULL,
    study_key character varying(64) NOT NULL,
    dataset text,
    backbone text,
    priority integer NOT NULL,
    cpus double precision NOT NULL,
    gpus double precision NOT NULL,
    max_attempts integer NOT NULL,
    deadline_seconds double precision,
    state character varying(16) NOT NULL,
    reason character varying(32),
    message text NOT NULL,
    stop_requested character varying(16),
    stop_reason character varying(32),
    stop_at timestamp with time zone,
    retry_of character varying(64),
    architecture_id character varying(64),
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    deadline_at timestamp with time zone,
    deleted_at timestamp with time zone,
    unfit_since timestamp with time zone,
    trials_total integer NOT NULL,
    trials_waiting integer NOT NULL,
    trials_running integer NOT NULL,
    trials_succeeded integer NOT NULL,
    trials_failed integer NOT NULL,
    trials_cancelled integer NOT NULL,
    progress double precision NOT NULL,
    best_delta_m double precision,
    last_event integer NOT NULL,
    last_log integer NOT NULL,
    version integer NOT NULL,
    CONSTRAINT ck_job_counts CHECK (((max_attempts >= 1) AND (version >= 1))),
    CONSTRAINT ck_job_finished CHECK (((finished_at IS NULL) = ((state)::text = ANY (ARRAY[('QUEUED'::character varying)::text, ('RUNNING'::character varying)::text, ('CANCELLING'::character varying)::text])))),
    CONSTRAINT ck_job_kind CHECK (((kind)::text = ANY (ARRAY[('search'::character varying)::text, ('retrain'::character varying)::text, ('export'::character varying)::text]))),
    CONSTRAINT ck_job_priority CHECK (((priority >= '-100'::integer) AND (priority <= 100))),
    CONSTRAINT ck_job_rolled_up CHECK ((((state)::text = ANY (ARRAY[('SUCCEEDED'::character varying)::text, ('FAILED'::character varying)::text, ('CANCELLED'::character varying)::text])) = ((trials_waiting + trials_running) = 0))),
    CONSTRAINT ck_job_state CHECK (((state)::text = ANY (ARRAY[('QUEUED'::character varying)::text, ('RUNNING'::character varying)::text, ('CANCELLING'::character varying)::text, ('SUCCEEDED'::character varying)::text, ('FAILED'::character varying)::text, ('CANCELLED'::character varying)::text]))),
    CONSTRAINT ck_job_stop_requested CHECK (((stop_requested)::text = ANY (ARRAY[('cancel'::character varying)::text, ('kill'::character varying)::text]))),
    CONSTRAINT ck_job_trials CHECK ((trials_total = ((((trials_waiting + trials_running) + trials_succeeded) + trials_failed) + trials_cancelled))),
    CONSTRAINT ck_job_trials_left CHECK (((trials_waiting >= 0) AND (trials_running >= 0)))
);


--
-- Name: job_label; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.job_label (
    job_id character varying(64) NOT NULL,
    name text NOT NULL,
    value text NOT NULL
);


--
-- Name: job_task; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.job_task (
    job_id character varying(64) NOT NULL,
    task text NOT NULL
);


--
-- Name: log; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.log (
    job_id character varying(64) NOT NULL,
    seq integer NOT NULL,
    trial_id character varying(64) NOT NULL,
    attempt integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    text text NOT NULL
);


--
-- Name: metric; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.metric (
    trial_id character varying(64) NOT NULL,
    name text NOT NULL,
    step bigint NOT NULL,
    job_id character varying(64) NOT NULL,
    value double precision NOT NULL,
    attempt integer NOT NULL
);


--
-- Name: result; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.result (
    trial_id character varying(64) NOT NULL,
    attempt_id character varying(64),
    origin_trial_id character varying(64),
    study_key character varying(64) NOT NULL,
    kind character varying(16) NOT NULL,
    name text NOT NULL,
    document json NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_result_origin CHECK (((attempt_id IS NULL) <> (origin_trial_id IS NULL)))
);


--
-- Name: token; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.token (
    id text NOT NULL,
    name text NOT NULL,
    owner text NOT NULL,
    role character varying(16) NOT NULL,
    scopes json NOT NULL,
    secret_sha256 character varying(64) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone
);


--
-- Name: trial; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.trial (
    id character varying(64) NOT NULL,
    job_id character varying(64) NOT NULL,
    "position" integer NOT NULL,
    kind character varying(16) NOT NULL,
    name text NOT NULL,
    spec json NOT NULL,
    reuse_key character varying(128),
    seed bigint NOT NULL,
    budget_madds bigint,
    state character varying(16) NOT NULL,
    reason character varying(32),
    message text NOT NULL,
    attempts integer NOT NULL,
    failures integer NOT NULL,
    not_before timestamp with time zone,
    stage text NOT NULL,
    step bigint NOT NULL,
    total_steps bigint NOT NULL,
    progress_at timestamp with time zone,
    reused_from character varying(64),
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT ck_trial_counts CHECK (((attempts >= 0) AND (failures >= 0) AND (failures <= attempts))),
    CONSTRAINT ck_trial_state CHECK (((state)::text = ANY (ARRAY[('QUEUED'::character varying)::text, ('RUNNING'::character varying)::text, ('SUCCEEDED'::character varying)::text, ('FAILED'::character varying)::text, ('CANCELLED'::character varying)::text])))
);


--
-- Name: worker; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.worker (
    id text NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    cpus double precision NOT NULL,
    gpus double precision NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL
);


--
-- Name: audit id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit ALTER COLUMN id SET DEFAULT nextval('public.audit_id_seq'::regclass);


--
-- Name: event id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.event ALTER COLUMN id SET DEFAULT nextval('public.event_id_seq'::regclass);


--
-- Data for Name: alembic_version; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.alembic_version VALUES ('0003');


--
-- Data for Name: architecture; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.architecture VALUES ('arch_e847aff1b207ce342c82', 'srch_8ff649400bec3ea822ef', 'tria_2bd473abede431fd08c1', NULL, 'study', 'ann', 'single-left', '{"tree":[]}', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', '["left"]', 'tiny4', 'digits', 10, 5, NULL, 0, '{"left":{"value":0.5}}', 0, '2026-11-22 09:12:30.941035+00', NULL);


--
-- Data for Name: architecture_task; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.architecture_task VALUES ('arch_e847aff1b207ce342c82', 'left');


--
-- Data for Name: attempt; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.attempt VALUES ('attm_2e706cd8a8eef63611f9', 'tria_2bd473abede431fd08c1', 'srch_8ff649400bec3ea822ef', 1, 'w', 'SUCCEEDED', NULL, '', '2026-11-22 09:14:00.845198+00', '2026-11-22 09:12:30.845198+00', '2026-11-22 09:12:30.810327+00', '2026-11-22 09:12:30.941035+00', 'train', 1, 2, NULL);


--
-- Data for Name: audit; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit VALUES (1, '2026-11-22 09:12:31.036298+00', 'ann', 't1', 'cancel', 'srch_7f3ba2008e0041aff946');


--
-- Data for Name: event; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.event VALUES (1, 'srch_8ff649400bec3ea822ef', 1, 'state', '{"state":"QUEUED","reason":null,"message":""}', '2026-11-22 09:12:30.788874+00');
INSERT INTO public.event VALUES (2, 'srch_8ff649400bec3ea822ef', 2, 'trial', '{"trial_id":"tria_2bd473abede431fd08c1","name":"single-left","state":"RUNNING","attempt":1,"reason":null}', '2026-11-22 09:12:30.810327+00');
INSERT INTO public.event VALUES (3, 'srch_8ff649400bec3ea822ef', 3, 'state', '{"state":"RUNNING","reason":null,"message":""}', '2026-11-22 09:12:30.810327+00');
INSERT INTO public.event VALUES (4, 'srch_8ff649400bec3ea822ef', 4, 'progress', '{"trial_id":"tria_2bd473abede431fd08c1","stage":"train","step":1,"total_steps":2,"progress":0.5}', '2026-11-22 09:12:30.845198+00');
INSERT INTO public.event VALUES (5, 'srch_8ff649400bec3ea822ef', 5, 'metric', '{"trial_id":"tria_2bd473abede431fd08c1","points":[{"name":"loss","step":1,"value":0.25}]}', '2026-11-22 09:12:30.85584+00');
INSERT INTO public.event VALUES (6, 'srch_8ff649400bec3ea822ef', 6, 'log', '{"trial_id":"tria_2bd473abede431fd08c1","lines":[{"seq":1,"text":"a line"}]}', '2026-11-22 09:12:30.878001+00');
INSERT INTO public.event VALUES (7, 'srch_8ff649400bec3ea822ef', 7, 'trial', '{"trial_id":"tria_2bd473abede431fd08c1","name":"single-left","state":"SUCCEEDED","attempt":1,"reason":null}', '2026-11-22 09:12:30.941035+00');
INSERT INTO public.event VALUES (8, 'srch_8ff649400bec3ea822ef', 8, 'front', '{"architecture_id":"arch_e847aff1b207ce342c82","name":"single-left","madds":10,"delta_m":0.0}', '2026-11-22 09:12:30.941035+00');
INSERT INTO public.event VALUES (9, 'srch_8ff649400bec3ea822ef', 9, 'state', '{"state":"SUCCEEDED","reason":null,"message":""}', '2026-11-22 09:12:30.941035+00');
INSERT INTO public.event VALUES (10, 'srch_82113d8b3762c5b4a24a', 1, 'state', '{"state":"QUEUED","reason":null,"message":""}', '2026-11-22 09:12:30.991703+00');
INSERT INTO public.event VALUES (11, 'srch_7f3ba2008e0041aff946', 1, 'state', '{"state":"QUEUED","reason":null,"message":""}', '2026-11-22 09:12:31.012417+00');
INSERT INTO public.event VALUES (12, 'srch_7f3ba2008e0041aff946', 2, 'trial', '{"trial_id":"tria_7bfc020f21741f5a5b17","name":"60pct-s0","state":"CANCELLED","attempt":0,"reason":"user_cancel"}', '2026-11-22 09:12:31.019666+00');
INSERT INTO public.event VALUES (13, 'srch_7f3ba2008e0041aff946', 3, 'state', '{"state":"CANCELLED","reason":"user_cancel","message":"A person asked to cancel it."}', '2026-11-22 09:12:31.019666+00');


--
-- Data for Name: file; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.file VALUES ('tria_2bd473abede431fd08c1', 'weights', 'trials/x', '0000000000000000000000000000000000000000000000000000000000000000', 7, 1, '2026-11-22 09:12:30.883063+00');


--
-- Data for Name: idempotency_key; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.idempotency_key VALUES ('ann', 'kept-key-of-16-chars', 'POST', '/api/v1/searches', '0000000000000000000000000000000000000000000000000000000000000000', 'srch_8ff649400bec3ea822ef', 202, '{"Location":"/x"}', '\x7b2261223a317d', '2026-11-22 09:12:30.788874+00');


--
-- Data for Name: job; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.job VALUES ('srch_8ff649400bec3ea822ef', 'search', 'ann', 'kept', '{"team":"red"}', '', '{"dataset":"digits","tasks":["left","right"],"backbone":"tiny4"}', '0000000000000000000000000000000000000000000000000000000000000000', 'study', 'digits', 'tiny4', 0, 1, 0, 3, NULL, 'SUCCEEDED', NULL, '', NULL, NULL, NULL, NULL, NULL, '2026-11-22 09:12:30.788874+00', '2026-11-22 09:12:30.810327+00', '2026-11-22 09:12:30.941035+00', NULL, NULL, NULL, 1, 0, 0, 1, 0, 0, 1, 0, 9, 1, 4);
INSERT INTO public.job VALUES ('srch_82113d8b3762c5b4a24a', 'search', 'ann', 'kept', '{"team":"red"}', '', '{"dataset":"digits","tasks":["left","right"],"backbone":"tiny4"}', '0000000000000000000000000000000000000000000000000000000000000000', 'study', 'digits', 'tiny4', 3, 1, 0, 3, 1000000000, 'QUEUED', NULL, '', NULL, NULL, NULL, NULL, NULL, '2026-11-22 09:12:30.991703+00', NULL, NULL, '2058-07-31 10:59:10.991703+00', NULL, NULL, 1, 1, 0, 0, 0, 0, 0, NULL, 1, 0, 1);
INSERT INTO public.job VALUES ('srch_7f3ba2008e0041aff946', 'search', 'ann', 'kept', '{"team":"red"}', '', '{"dataset":"digits","tasks":["left","right"],"backbone":"tiny4"}', '0000000000000000000000000000000000000000000000000000000000000000', 'study', 'digits', 'tiny4', 0, 1, 0, 3, NULL, 'CANCELLED', 'user_cancel', 'A person asked to cancel it.', 'cancel', 'user_cancel', '2026-11-22 09:12:31.019666+00', NULL, NULL, '2026-11-22 09:12:31.012417+00', NULL, '2026-11-22 09:12:31.019666+00', NULL, NULL, NULL, 1, 0, 0, 0, 0, 1, 0, NULL, 3, 0, 2);


--
-- Data for Name: job_label; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.job_label VALUES ('srch_8ff649400bec3ea822ef', 'team', 'red');
INSERT INTO public.job_label VALUES ('srch_82113d8b3762c5b4a24a', 'team', 'red');
INSERT INTO public.job_label VALUES ('srch_7f3ba2008e0041aff946', 'team', 'red');


--
-- Data for Name: job_task; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.job_task VALUES ('srch_8ff649400bec3ea822ef', 'left');
INSERT INTO public.job_task VALUES ('srch_8ff649400bec3ea822ef', 'right');
INSERT INTO public.job_task VALUES ('srch_82113d8b3762c5b4a24a', 'left');
INSERT INTO public.job_task VALUES ('srch_82113d8b3762c5b4a24a', 'right');
INSERT INTO public.job_task VALUES ('srch_7f3ba2008e0041aff946', 'left');
INSERT INTO public.job_task VALUES ('srch_7f3ba2008e0041aff946', 'right');


--
-- Data for Name: log; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.log VALUES ('srch_8ff649400bec3ea822ef', 1, 'tria_2bd473abede431fd08c1', 1, '2026-11-22 09:12:30.878001+00', 'a line');


--
-- Data for Name: metric; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.metric VALUES ('tria_2bd473abede431fd08c1', 'loss', 1, 'srch_8ff649400bec3ea822ef', 0.25, 1);


--
-- Data for Name: result; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.result VALUES ('tria_2bd473abede431fd08c1', 'attm_2e706cd8a8eef63611f9', NULL, 'study', 'single', 'single-left', '{"metrics":{"left":{"metric":"accuracy","value":0.5,"higher_is_better":true}}}', '2026-11-22 09:12:30.941035+00');


--
-- Data for Name: token; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.token VALUES ('t1', 'kept', 'ann', 'admin', '["admin"]', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '2026-11-22 09:12:31.030068+00', NULL, NULL, NULL);


--
-- Data for Name: trial; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.trial VALUES ('tria_2bd473abede431fd08c1', 'srch_8ff649400bec3ea822ef', 0, 'single', 'single-left', '{}', 'key', 0, NULL, 'SUCCEEDED', NULL, '', 1, 0, NULL, 'train', 1, 2, '2026-11-22 09:12:30.845198+00', NULL, '2026-11-22 09:12:30.788874+00', '2026-11-22 09:12:30.810327+00', '2026-11-22 09:12:30.941035+00');
INSERT INTO public.trial VALUES ('tria_c208f2fd7287161d8de3', 'srch_82113d8b3762c5b4a24a', 0, 'candidate', '60pct-s0', '{}', NULL, 0, NULL, 'QUEUED', NULL, '', 0, 0, NULL, '', 0, 0, NULL, NULL, '2026-11-22 09:12:30.991703+00', NULL, NULL);
INSERT INTO public.trial VALUES ('tria_7bfc020f21741f5a5b17', 'srch_7f3ba2008e0041aff946', 0, 'candidate', '60pct-s0', '{}', NULL, 0, NULL, 'CANCELLED', 'user_cancel', 'A person asked to cancel it.', 0, 0, NULL, '', 0, 0, NULL, NULL, '2026-11-22 09:12:31.012417+00', NULL, '2026-11-22 09:12:31.019666+00');


--
-- Data for Name: worker; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.worker VALUES ('w', 'w', '0.1', 1, 0, '2026-11-22 09:12:30.810327+00', '2026-11-22 09:12:30.810327+00');


--
-- Name: audit_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.audit_id_seq', 1, true);


--
-- Name: event_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.event_id_seq', 13, true);


--
-- Name: alembic_version alembic_version_pkc; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);


--
-- Name: architecture pk_architecture; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.architecture
    ADD CONSTRAINT pk_architecture PRIMARY KEY (id);


--
-- Name: architecture_task pk_architecture_task; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.architecture_task
    ADD CONSTRAINT pk_architecture_task PRIMARY KEY (architecture_id, task);


--
-- Name: attempt pk_attempt; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT pk_attempt PRIMARY KEY (id);


--
-- Name: audit pk_audit; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT pk_audit PRIMARY KEY (id);


--
-- Name: event pk_event; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.event
    ADD CONSTRAINT pk_event PRIMARY KEY (id);


--
-- Name: file pk_file; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.file
    ADD CONSTRAINT pk_file PRIMARY KEY (trial_id, name);


--
-- Name: idempotency_key pk_idempotency_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.idempotency_key
    ADD CONSTRAINT pk_idempotency_key PRIMARY KEY (owner, key);


--
-- Name: job pk_job; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.job
    ADD CONSTRAINT pk_job PRIMARY KEY (id);


--
-- Name: job_label pk_job_label; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.job_label
    ADD CONSTRAINT pk_job_label PRIMARY KEY (job_id, name);


--
-- Name: job_task pk_job_task; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.job_task
    ADD CONSTRAINT pk_job_task PRIMARY KEY (job_id, task);


--
-- Name: log pk_log; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.log
    ADD CONSTRAINT pk_log PRIMARY KEY (job_id, seq);


--
-- Name: metric pk_metric; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.metric
    ADD CONSTRAINT pk_metric PRIMARY KEY (trial_id, name, step);


--
-- Name: result pk_result; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.result
    ADD CONSTRAINT pk_result PRIMARY KEY (trial_id);


--
-- Name: token pk_token; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.token
    ADD CONSTRAINT pk_token PRIMARY KEY (id);


--
-- Name: trial pk_trial; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.trial
    ADD CONSTRAINT pk_trial PRIMARY KEY (id);


--
-- Name: worker pk_worker; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.worker
    ADD CONSTRAINT pk_worker PRIMARY KEY (id);


--
-- Name: architecture uq_architecture_trial_id; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.architecture
    ADD CONSTRAINT uq_architecture_trial_id UNIQUE (trial_id);


--
-- Name: attempt uq_attempt_trial_id_number; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT uq_attempt_trial_id_number UNIQUE (trial_id, number);


--
-- Name: event uq_event_job_id_seq; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.event
    ADD CONSTRAINT uq_event_job_id_seq UNIQUE (job_id, seq);


--
-- Name: trial uq_trial_job_id_name; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.trial
    ADD CONSTRAINT uq_trial_job_id_name UNIQUE (job_id, name);


--
-- Name: trial uq_trial_job_id_position; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.trial
    ADD CONSTRAINT uq_trial_job_id_position UNIQUE (job_id, "position");


--
-- Name: ix_architecture_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_architecture_created_at ON public.architecture USING btree (created_at, id);


--
-- Name: ix_architecture_delta_m; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_architecture_delta_m ON public.architecture USING btree (delta_m, id);


--
-- Name: ix_architecture_job_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_architecture_job_id ON public.architecture USING btree (job_id);


--
-- Name: ix_architecture_madds; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_architecture_madds ON public.architecture USING btree (madds, id);


--
-- Name: ix_architecture_params; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_architecture_params ON public.architecture USING btree (params, id);


--
-- Name: ix_architecture_study_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_architecture_study_created_at ON public.architecture USING btree (study_key, created_at, id);


--
-- Name: ix_architecture_study_delta_m; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_architecture_study_delta_m ON public.architecture USING btree (study_key, delta_m, id);


--
-- Name: ix_architecture_task_task; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_architecture_task_task ON public.architecture_task USING btree (task, architecture_id);


--
-- Name: ix_architecture_unscored; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_architecture_unscored ON public.architecture USING btree (study_key) WHERE ((delta_m IS NULL) AND (metrics IS NOT NULL));


--
-- Name: ix_attempt_job_running; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_attempt_job_running ON public.attempt USING btree (job_id) WHERE ((state)::text = 'RUNNING'::text);


--
-- Name: ix_attempt_lease; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_attempt_lease ON public.attempt USING btree (lease_until) WHERE ((state)::text = 'RUNNING'::text);


--
-- Name: ix_idempotency_key_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_idempotency_key_created_at ON public.idempotency_key USING btree (created_at);


--
-- Name: ix_job_by_best_delta_m; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_by_best_delta_m ON public.job USING btree (best_delta_m, id) WHERE (deleted_at IS NULL);


--
-- Name: ix_job_by_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_by_created_at ON public.job USING btree (created_at, id) WHERE (deleted_at IS NULL);


--
-- Name: ix_job_by_name; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_by_name ON public.job USING btree (name, id) WHERE (deleted_at IS NULL);


--
-- Name: ix_job_by_owner; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_by_owner ON public.job USING btree (owner, created_at, id) WHERE (deleted_at IS NULL);


--
-- Name: ix_job_by_priority; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_by_priority ON public.job USING btree (priority, id) WHERE (deleted_at IS NULL);


--
-- Name: ix_job_by_state; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_by_state ON public.job USING btree (state, id) WHERE (deleted_at IS NULL);


--
-- Name: ix_job_deadline; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_deadline ON public.job USING btree (deadline_at) WHERE (((state)::text = ANY (ARRAY[('QUEUED'::character varying)::text, ('RUNNING'::character varying)::text, ('CANCELLING'::character varying)::text])) AND (deadline_at IS NOT NULL));


--
-- Name: ix_job_deleted; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_deleted ON public.job USING btree (id) WHERE (deleted_at IS NOT NULL);


--
-- Name: ix_job_ended; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_ended ON public.job USING btree (finished_at, id) WHERE (finished_at IS NOT NULL);


--
-- Name: ix_job_label_name_value; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_label_name_value ON public.job_label USING btree (name, value, job_id);


--
-- Name: ix_job_of_architecture; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_of_architecture ON public.job USING btree (architecture_id, created_at, id) WHERE (deleted_at IS NULL);


--
-- Name: ix_job_of_state; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_of_state ON public.job USING btree (state, created_at, id) WHERE (deleted_at IS NULL);


--
-- Name: ix_job_of_study; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_of_study ON public.job USING btree (study_key, created_at, id) WHERE (deleted_at IS NULL);


--
-- Name: ix_job_open; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_open ON public.job USING btree (owner, state) WHERE ((state)::text = ANY (ARRAY[('QUEUED'::character varying)::text, ('RUNNING'::character varying)::text, ('CANCELLING'::character varying)::text]));


--
-- Name: ix_job_running; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_running ON public.job USING btree (owner, trials_running) WHERE (trials_running > 0);


--
-- Name: ix_job_task_task; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_task_task ON public.job_task USING btree (task, job_id);


--
-- Name: ix_job_waiting; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_job_waiting ON public.job USING btree (priority, owner, created_at, id, cpus, gpus, deadline_at) WHERE ((trials_waiting > 0) AND (stop_requested IS NULL));


--
-- Name: ix_metric_job_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_metric_job_id ON public.metric USING btree (job_id);


--
-- Name: ix_result_study; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_result_study ON public.result USING btree (study_key, kind, name) WHERE (origin_trial_id IS NULL);


--
-- Name: ix_token_owner; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_token_owner ON public.token USING btree (owner);


--
-- Name: ix_trial_reuse_key; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_trial_reuse_key ON public.trial USING btree (reuse_key, state) WHERE (reuse_key IS NOT NULL);


--
-- Name: ix_worker_last_seen_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_worker_last_seen_at ON public.worker USING btree (last_seen_at);


--
-- Name: uq_attempt_running; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX uq_attempt_running ON public.attempt USING btree (trial_id) WHERE ((state)::text = 'RUNNING'::text);


--
-- Name: uq_trial_running_twin; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX uq_trial_running_twin ON public.trial USING btree (reuse_key) WHERE ((state)::text = 'RUNNING'::text);


--
-- Name: architecture fk_architecture_job_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.architecture
    ADD CONSTRAINT fk_architecture_job_id FOREIGN KEY (job_id) REFERENCES public.job(id);


--
-- Name: architecture_task fk_architecture_task_architecture_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.architecture_task
    ADD CONSTRAINT fk_architecture_task_architecture_id FOREIGN KEY (architecture_id) REFERENCES public.architecture(id);


--
-- Name: architecture fk_architecture_trial_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.architecture
    ADD CONSTRAINT fk_architecture_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);


--
-- Name: attempt fk_attempt_job_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT fk_attempt_job_id FOREIGN KEY (job_id) REFERENCES public.job(id);


--
-- Name: attempt fk_attempt_trial_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT fk_attempt_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);


--
-- Name: event fk_event_job_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.event
    ADD CONSTRAINT fk_event_job_id FOREIGN KEY (job_id) REFERENCES public.job(id);


--
-- Name: file fk_file_trial_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.file
    ADD CONSTRAINT fk_file_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);


--
-- Name: idempotency_key fk_idempotency_key_job_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.idempotency_key
    ADD CONSTRAINT fk_idempotency_key_job_id FOREIGN KEY (job_id) REFERENCES public.job(id);


--
-- Name: job_label fk_job_label_job_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.job_label
    ADD CONSTRAINT fk_job_label_job_id FOREIGN KEY (job_id) REFERENCES public.job(id);


--
-- Name: job_task fk_job_task_job_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.job_task
    ADD CONSTRAINT fk_job_task_job_id FOREIGN KEY (job_id) REFERENCES public.job(id);


--
-- Name: log fk_log_job_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.log
    ADD CONSTRAINT fk_log_job_id FOREIGN KEY (job_id) REFERENCES public.job(id);


--
-- Name: metric fk_metric_job_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.metric
    ADD CONSTRAINT fk_metric_job_id FOREIGN KEY (job_id) REFERENCES public.job(id);


--
-- Name: metric fk_metric_trial_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.metric
    ADD CONSTRAINT fk_metric_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);


--
-- Name: result fk_result_attempt_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.result
    ADD CONSTRAINT fk_result_attempt_id FOREIGN KEY (attempt_id) REFERENCES public.attempt(id);


--
-- Name: result fk_result_origin_trial_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.result
    ADD CONSTRAINT fk_result_origin_trial_id FOREIGN KEY (origin_trial_id) REFERENCES public.trial(id);


--
-- Name: result fk_result_trial_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.result
    ADD CONSTRAINT fk_result_trial_id FOREIGN KEY (trial_id) REFERENCES public.trial(id);


--
-- Name: trial fk_trial_job_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.trial
    ADD CONSTRAINT fk_trial_job_id FOREIGN KEY (job_id) REFERENCES public.job(id);


--
-- PostgreSQL database dump complete
--

\unrestrict sONQdiURxsFEgKlHSxG0l8IMRIKfoRNfT7yK6vUSYokPxZKDoTiUxD2MjcFWku6

