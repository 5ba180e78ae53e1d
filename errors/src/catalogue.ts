/**
 * Every error code of SMiLe Stream: whether trying again can help, and the remedy that a person is told.
 * Codes that end up on the dead-letter topic are marked in the comments of their group.
 */
export const catalogue = {
  // Configuration, files and documents
  CONFIG_INVALID: { retriable: false, fix: "correct the named keys and start again" },
  DOCUMENT_INVALID: { retriable: false, fix: "correct the named fields, or make the document anew with the tool that wrote it" },
  FILE_MISSING: { retriable: false, fix: "check the path; the message names the file that was expected" },
  FILE_DAMAGED: { retriable: false, fix: "restore the named file from its origin; the message says where it stops making sense" },
  ROW_MALFORMED: {
    retriable: false,
    fix: "correct the named line: JSON rows have machine (text), timeMs (whole number), values (numbers by sensor); CSV lines as many fields as the header, quotes closed",
  },
  TRAINING_IMPOSSIBLE: { retriable: false, fix: "give training more machines, complete rows, both outcomes, or a larger penalty" },

  // Records of people
  MAPPING_INVALID: { retriable: false, fix: "correct the named columns of the mapping, or the file; every column is named once" },
  IDENTIFIER_AS_FEATURE: {
    retriable: false,
    fix: "make the column the identifier or ignore it; an exact quantity may be rounded to bands first",
  },
  SENSITIVE_COLUMN: { retriable: false, fix: "ignore the column, or permit it in the mapping with a reason, which is logged" },
  RECORDS_TOO_FEW: { retriable: false, fix: "give more records: what is learned from a few people tells about each of them" },
  JOB_EXISTS: { retriable: false, fix: "resume the job of this id, or begin another under a new id" },
  JOB_UNKNOWN: { retriable: false, fix: "name a job that was begun here, in this store" },
  JOB_CHANGED: { retriable: false, fix: "resume with what the job began with, or cancel it and begin another" },
  JOB_BUSY: { retriable: true, fix: "wait until the process that sends this store's jobs has ended, or end it" },
  JOB_ENDED: { retriable: false, fix: "begin another job; one that is done or cancelled goes no further" },
  JOB_INCOMPLETE: { retriable: false, fix: "wait until every record is answered once; where that stays out, begin another job" },
  RELEASE_DIFFERENCING: {
    retriable: false,
    fix: "leave the release, or run again when at least as many people changed as the smallest group has; together with an earlier release it would tell about a few people",
  },

  // Identities, certificates and secrets at rest
  PASSPHRASE_MISSING: {
    retriable: false,
    fix: "give the passphrase at the prompt, or its file by --passphrase-file or SMILE_PASSPHRASE_FILE",
  },
  PASSPHRASE_WRONG: { retriable: false, fix: "give the passphrase that the file was written with; the file itself is sound" },
  CERTIFICATE_INVALID: { retriable: false, fix: "use a certificate that is in force and was issued for this name by the authority named" },
  TLS_REQUIRED: { retriable: false, fix: "configure tls, listen on 127.0.0.1, or say in so many words that the traffic may be read" },
  PLANT_UNKNOWN: { retriable: false, fix: "register the plant at the service, with the hash of its identity" },
  REGISTER_STALE: { retriable: false, fix: "export the plant's register anew; one with a higher serial was taken before" },
  VERSION_UNSUPPORTED: { retriable: false, fix: "bring the older of the two programs up to date" },
  AUDIT_BROKEN: { retriable: false, fix: "compare with a copy or with a head that was noted: an entry was changed, removed or inserted" },

  // Parameters and keys
  PLAN_REFUSED: { retriable: false, fix: "use fewer features, fewer bits, fewer merges, smaller weights or model privacy `compact`" },
  KEY_MISMATCH: { retriable: false, fix: "use keys that were made for these parameters" },

  // Bytes from outside; a frame refused with one of these goes to the dead-letter topic
  FRAME_MALFORMED: { retriable: false, fix: "send an envelope of a published schema version" },
  FRAME_WRONG_LENGTH: { retriable: false, fix: "send a ciphertext of exactly the length that the parameters ask for" },
  FRAME_WRONG_HASH: { retriable: false, fix: "send the SHA-256 of the ciphertext itself; the bytes changed on their way" },
  FRAME_WRONG_SENDER: { retriable: false, fix: "publish under the topic of the plant and gateway that the envelope names" },
  SENDER_UNKNOWN: { retriable: false, fix: "register the gateway, or a key of its that is not revoked, at the service" },
  SIGNATURE_INVALID: {
    retriable: false,
    fix: "sign with the key that is registered for the sender; what was signed may have changed on its way",
  },
  RESIDUE_OUT_OF_RANGE: { retriable: false, fix: "encrypt anew: a residue is not below q, so this is no ciphertext of these parameters" },
  CIPHERTEXT_TRANSPARENT: { retriable: false, fix: "encrypt it: its second polynomial is zero, so anyone could read the first" },
  SCORING_FAILED: { retriable: false, fix: "report it with the service's log: bytes that passed every check could still not be scored" },
  PARAMS_UNKNOWN: { retriable: false, fix: "encrypt under parameters that the service has deployed" },
  FEATURE_SET_UNKNOWN: { retriable: false, fix: "deploy the feature set at the model service, or use one that is deployed" },
  KEY_UNKNOWN: { retriable: false, fix: "register the plant's public key at the service; one that was destroyed or has retired stays out" },
  LANES_INVALID: { retriable: false, fix: "use lanes within the parameters' range, and at least one" },
  SCORE_MISMATCH: { retriable: false, fix: "check which model service answered: the score does not belong to the window it names" },

  // Running services
  LOG_UNAVAILABLE: { retriable: true, fix: "check that the log's disk or broker answers and has room" },
  LOG_TOPIC_UNKNOWN: { retriable: false, fix: "ensure the topic before appending to it or reading from it" },
  LOG_GROUP_BUSY: { retriable: true, fix: "stop the other member of the group, or wait until its lease ends" },
  BROKER_DOWN: { retriable: true, fix: "check the broker's address and that its listener answers" },
  BROKER_REFUSED: { retriable: false, fix: "check the client's id and credentials, and which topics the broker lets it use" },
  QUOTA_EXCEEDED: { retriable: true, fix: "send less, or have the plant's quota raised; what is not acknowledged is sent again" },
  BACKLOG_FULL: {
    retriable: true,
    fix: "nothing while jobs are scored: what is not acknowledged is sent again; otherwise see that a model service with their deployment runs",
  },
  MESSAGE_TOO_LARGE: { retriable: false, fix: "send less per message, or raise the largest packet at both ends" },
  WORKER_DIED: {
    retriable: false,
    fix: "look at the batch on the dead-letter topic and at the memory limit of the workers: it ended several of them",
  },
  STOPPED: { retriable: true, fix: "nothing: the service is stopping" },
  TOOL_MISSING: { retriable: false, fix: "install the named program and put it on the PATH" },
  DOWNLOAD_FAILED: { retriable: true, fix: "check the way to the named repository, or its mirror in the tool's own settings" },
  STORE_UNAVAILABLE: { retriable: true, fix: "check that the store's disk is writable and has room" },
} as const satisfies Record<string, { retriable: boolean; fix: string }>;
