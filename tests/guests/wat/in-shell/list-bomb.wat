;; A list bomb: a hundred thousand measurements, each of which shows the same mebibyte as its name. The guest takes
;; 5 MiB; who copies it without counting takes 100 GiB.
(core module $core
  (memory (export "memory") 80)
  ;; The description: name, version, summary, schema.
  (data (i32.const 16)
    "\40\00\00\00\09\00\00\00" "\60\00\00\00\05\00\00\00"
    "\68\00\00\00\04\00\00\00" "\70\00\00\00\11\00\00\00")
  (data (i32.const 0x40) "list-bomb")
  (data (i32.const 0x60) "0.1.0")
  (data (i32.const 0x68) "WAT.")
  (data (i32.const 0x70) "{\"type\":\"object\"}")
  ;; The result: ok, healthy, a summary, no reason, no measurements.
  (data (i32.const 0x108) "\68\00\00\00\04\00\00\00")
  ;; The measurements: at 64 KiB, 100,000.
  (data (i32.const 0x11c) "\00\00\01\00" "\a0\86\01\00")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
  (func (export "describe") (result i32) (i32.const 16))
  (func (export "run") (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.const 0x10000))
    (loop $next
      ;; Name: 1 MiB from the address 0x300000 on; bytes of zero are UTF-8. Value 0, unit empty.
      (i32.store (local.get $at) (i32.const 0x300000))
      (i32.store offset=4 (local.get $at) (i32.const 0x100000))
      (local.set $at (i32.add (local.get $at) (i32.const 24)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 2465536))))
    (i32.const 0x100))
)
