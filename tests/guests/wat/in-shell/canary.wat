;; Looks for what an earlier instance left in its slot: scans 4 MiB of fresh memory, its table and a global, says
;; unhealthy with the summary `DIRT` if anything is there, and leaves traces of its own.
(core module $core
  (memory (export "memory") 65)
  (table $table 1024 funcref)
  (elem declare func $trace)
  (global $count (mut i32) (i32.const 0))
  ;; The description: name, version, summary, schema.
  (data (i32.const 16)
    "\40\00\00\00\06\00\00\00" "\60\00\00\00\05\00\00\00"
    "\68\00\00\00\04\00\00\00" "\70\00\00\00\11\00\00\00")
  (data (i32.const 0x40) "canary")
  (data (i32.const 0x60) "0.1.0")
  (data (i32.const 0x68) "WAT.")
  (data (i32.const 0x70) "{\"type\":\"object\"}")
  ;; The result: ok, healthy, a summary, no reason, no measurements.
  (data (i32.const 0x108) "\68\00\00\00\04\00\00\00")
  (data (i32.const 0x90) "DIRT")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
  (func (export "describe") (result i32) (i32.const 16))
  (func $trace)
  (func (export "run") (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32)
    (local $at i32)
    (local $dirt i64)
    (local.set $dirt (i64.extend_i32_u (global.get $count)))
    (global.set $count (i32.const 1))
    (local.set $at (i32.const 0))
    (loop $next
      (if (i32.eqz (ref.is_null (table.get $table (local.get $at)))) (then (local.set $dirt (i64.const 1))))
      (table.set $table (local.get $at) (ref.func $trace))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 1024))))
    ;; The first page is the guest's own: data, and the job.
    (local.set $at (i32.const 0x10000))
    (loop $next
      (local.set $dirt (i64.or (local.get $dirt) (i64.load (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 0x410000))))
    (memory.fill (i32.const 0x10000) (i32.const 0xaa) (i32.const 0x400000))
    (if (i64.ne (local.get $dirt) (i64.const 0))
      (then
        (i32.store8 (i32.const 0x104) (i32.const 2))
        (i32.store (i32.const 0x108) (i32.const 0x90))))
    (i32.const 0x100))
)
