;; A pulse plugin around a core module that is written by hand: the component's types and lifts, which are the same
;; for every guest in `in-shell/`. The tests put the text of one of them in place of the line that says `@guest`.
;;
;; The module exports `memory`, `cabi_realloc`, `describe` (returns the address of four strings: name, version,
;; summary, schema) and `run` (the job, flattened; returns the address of a result<report, fault>).
(component
  (type $model (instance
    (type $label' (record (field "name" string) (field "value" string)))
    (export "label" (type $label (eq $label')))
    (type $subject' (record (field "monitor" string) (field "tenant" string) (field "labels" (list $label))))
    (export "subject" (type $subject (eq $subject')))
    (type $attempt' (record (field "number" u32) (field "deadline-ms" u32) (field "scheduled-at" u64)))
    (export "attempt" (type $attempt (eq $attempt')))
    (type $measurement' (record (field "name" string) (field "value" float64) (field "unit" string)))
    (export "measurement" (type $measurement (eq $measurement')))
    (type $fault' (variant
      (case "invalid-settings" string) (case "unsupported" string) (case "internal" string)))
    (export "fault" (type $fault (eq $fault')))
  ))
  (import "pulse:plugin/model@0.1.0" (instance $model (type $model)))
  (alias export $model "subject" (type $subject))
  (alias export $model "attempt" (type $attempt))
  (alias export $model "measurement" (type $measurement))
  (alias export $model "fault" (type $fault))

  ;; @guest
  (core instance $guest (instantiate $core))
  (alias core export $guest "memory" (core memory $memory))
  (alias core export $guest "cabi_realloc" (core func $realloc))

  (type $description (record
    (field "name" string) (field "version" string) (field "summary" string) (field "settings-schema" string)))
  (func $describe (result $description)
    (canon lift (core func $guest "describe") (memory $memory) string-encoding=utf8))

  (type $job (record (field "subject" $subject) (field "attempt" $attempt) (field "settings" string)))
  (type $status (enum "healthy" "degraded" "unhealthy"))
  (type $report (record
    (field "status" $status) (field "summary" string) (field "reason" (option string))
    (field "measurements" (list $measurement))))
  (func $run (param "job" $job) (result (result $report (error $fault)))
    (canon lift (core func $guest "run") (memory $memory) (realloc $realloc) string-encoding=utf8))

  ;; Records that an exported function mentions must have names of their own: a component that takes them in and
  ;; hands them out again gives them some.
  (component $name-plugin
    (type $description' (record
      (field "name" string) (field "version" string) (field "summary" string) (field "settings-schema" string)))
    (import "description" (type $description (eq $description')))
    (import "describe" (func $describe (result $description)))
    (export $exported "description" (type $description))
    (export "describe" (func $describe) (func (result $exported)))
  )
  (instance $plugin (instantiate $name-plugin
    (with "description" (type $description)) (with "describe" (func $describe))))
  (export "pulse:plugin/plugin@0.1.0" (instance $plugin))

  (component $name-pulse
    (alias outer 1 $model (type $outer-model))
    (import "model" (instance $model (type $outer-model)))
    (alias export $model "subject" (type $subject))
    (alias export $model "attempt" (type $attempt))
    (alias export $model "measurement" (type $measurement))
    (alias export $model "fault" (type $fault))
    (type $job' (record (field "subject" $subject) (field "attempt" $attempt) (field "settings" string)))
    (import "job" (type $job (eq $job')))
    (type $status' (enum "healthy" "degraded" "unhealthy"))
    (import "status" (type $status (eq $status')))
    (type $report' (record
      (field "status" $status) (field "summary" string) (field "reason" (option string))
      (field "measurements" (list $measurement))))
    (import "report" (type $report (eq $report')))
    (import "run" (func $run (param "job" $job) (result (result $report (error $fault)))))
    (export $subject-out "subject" (type $subject))
    (export $attempt-out "attempt" (type $attempt))
    (export $measurement-out "measurement" (type $measurement))
    (export $fault-out "fault" (type $fault))
    (type $job-out' (record
      (field "subject" $subject-out) (field "attempt" $attempt-out) (field "settings" string)))
    (export $job-out "job" (type $job-out'))
    (export $status-out "status" (type $status))
    (type $report-out' (record
      (field "status" $status-out) (field "summary" string) (field "reason" (option string))
      (field "measurements" (list $measurement-out))))
    (export $report-out "report" (type $report-out'))
    (export "run" (func $run) (func (param "job" $job-out) (result (result $report-out (error $fault-out)))))
  )
  (instance $pulse (instantiate $name-pulse
    (with "model" (instance $model))
    (with "job" (type $job))
    (with "status" (type $status))
    (with "report" (type $report))
    (with "run" (func $run))))
  (export "pulse:plugin/pulse@0.1.0" (instance $pulse))
)
