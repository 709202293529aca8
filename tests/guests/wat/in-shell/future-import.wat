;; Imports a lent interface in a version that this host does not have.
(import "pulse:host/log@9.0.0" (instance
  (export "write" (func (param "message" string)))))
(core module $core
  (memory (export "memory") 1)
  ;; The description: name, version, summary, schema.
  (data (i32.const 16)
    "\40\00\00\00\0d\00\00\00" "\60\00\00\00\05\00\00\00"
    "\68\00\00\00\04\00\00\00" "\70\00\00\00\11\00\00\00")
  (data (i32.const 0x40) "future-import")
  (data (i32.const 0x60) "0.1.0")
  (data (i32.const 0x68) "WAT.")
  (data (i32.const 0x70) "{\"type\":\"object\"}")
  ;; The result: ok, healthy, a summary, no reason, no measurements.
  (data (i32.const 0x108) "\68\00\00\00\04\00\00\00")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
  (func (export "describe") (result i32) (i32.const 16))
  (func (export "run") (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32) (i32.const 0x100))
)
