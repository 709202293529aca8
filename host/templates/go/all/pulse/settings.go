package pulse

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
)

// Schema is the JSON Schema of a struct of settings: strings, integers, floats, booleans and lists of these. The tags
// `description`, `default`, `minimum`, `maximum`, `minLength` and `format` mean what they mean in JSON Schema; a setting
// without a default must be given.
func Schema[S any]() string {
	var settings S
	properties := map[string]any{}
	required := []string{}
	t := reflect.TypeOf(settings)
	for index := range t.NumField() {
		field := t.Field(index)
		name := field.Tag.Get("json")
		property := typeOf(field.Type)
		for _, word := range []string{"description", "format"} {
			if text, there := field.Tag.Lookup(word); there {
				property[word] = text
			}
		}
		for _, word := range []string{"minimum", "maximum", "minLength"} {
			if text, there := field.Tag.Lookup(word); there {
				property[word] = json.Number(text)
			}
		}
		if text, there := field.Tag.Lookup("default"); there {
			property["default"] = preset(field.Type, text)
		} else {
			required = append(required, name)
		}
		properties[name] = property
	}
	schema, err := json.Marshal(map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"type":                 "object",
		"properties":           properties,
		"required":             required,
		"additionalProperties": false,
	})
	if err != nil {
		panic(err)
	}
	return string(schema)
}

func typeOf(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint16, reflect.Uint32:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": typeOf(t.Elem())}
	}
	panic("a setting can't be of type " + t.String())
}

func preset(t reflect.Type, text string) any {
	if t.Kind() == reflect.String {
		return text
	}
	return json.RawMessage(text)
}

// Read reads a job's settings, and puts defaults where nothing is given.
func Read[S any](text string) (S, error) {
	var settings S
	value := reflect.ValueOf(&settings).Elem()
	for index := range value.NumField() {
		if text, there := value.Type().Field(index).Tag.Lookup("default"); there {
			if value.Field(index).Kind() == reflect.String {
				text = strconv.Quote(text)
			}
			if err := json.Unmarshal([]byte(text), value.Field(index).Addr().Interface()); err != nil {
				panic(err)
			}
		}
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &given); err != nil {
		return settings, InvalidSettings(err.Error())
	}
	for index := range value.NumField() {
		tag := value.Type().Field(index).Tag
		_, preset := tag.Lookup("default")
		if _, there := given[tag.Get("json")]; !there && !preset {
			return settings, InvalidSettings("/" + tag.Get("json") + ": is missing")
		}
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&settings); err != nil {
		return settings, InvalidSettings(err.Error())
	}
	return settings, nil
}
