;; A component that exports nothing: valid, but no plugin.
(component)
