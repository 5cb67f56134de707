package tablestore

import (
	"cmp"
	"fmt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"

	"eslink/localtest/fakes/cloud"
)

// maxConditions bounds the column conditions of one request.
const maxConditions = 10

// filterOf decodes a column condition or filter. It returns nil for none.
func filterOf(b []byte) (*otsprotocol.Filter, *cloud.Error) {
	if len(b) == 0 {
		return nil, nil
	}
	f := &otsprotocol.Filter{}
	if err := unmarshal(b, f); err != nil {
		return nil, err
	}
	return f, nil
}

// passes evaluates a filter over a row's columns, newest version first. It
// counts the single conditions into seen.
func passes(f *otsprotocol.Filter, columns map[string][]version, seen *int) (bool, *cloud.Error) {
	switch f.GetType() {
	case otsprotocol.FilterType_FT_SINGLE_COLUMN_VALUE:
		if *seen++; *seen > maxConditions {
			return false, invalid("The count of filter exceeds the max: %d.", maxConditions)
		}
		single := &otsprotocol.SingleColumnValueFilter{}
		if err := unmarshal(f.GetFilter(), single); err != nil {
			return false, err
		}
		return singlePasses(single, columns)
	case otsprotocol.FilterType_FT_COMPOSITE_COLUMN_VALUE:
		composite := &otsprotocol.CompositeColumnValueFilter{}
		if err := unmarshal(f.GetFilter(), composite); err != nil {
			return false, err
		}
		return compositePasses(composite, columns, seen)
	}
	return false, unsupported("filter " + f.GetType().String())
}

func compositePasses(f *otsprotocol.CompositeColumnValueFilter, columns map[string][]version, seen *int) (bool, *cloud.Error) {
	subs, not := f.GetSubFilters(), f.GetCombinator() == otsprotocol.LogicalOperator_LO_NOT
	if not && len(subs) != 1 || !not && len(subs) < 2 {
		return false, invalid("Invalid number of sub-filters for %s: %d.", f.GetCombinator(), len(subs))
	}
	and := f.GetCombinator() == otsprotocol.LogicalOperator_LO_AND
	result := and
	for _, sub := range subs { // all of them: a wrong one is an error even if another decides
		ok, err := passes(sub, columns, seen)
		if err != nil {
			return false, err
		}
		if and {
			result = result && ok
		} else {
			result = result || ok
		}
	}
	return result != not, nil
}

// singlePasses is where FilterIfMissing and LatestVersionOnly count: without
// the first a row that lacks the column passes, without the second one matching
// old version is enough.
func singlePasses(f *otsprotocol.SingleColumnValueFilter, columns map[string][]version) (bool, *cloud.Error) {
	if f.ValueTransRule != nil {
		return false, unsupported("value_trans_rule")
	}
	want, decodeErr := decodeVariant(f.GetColumnValue())
	if decodeErr != nil {
		return false, invalid("Invalid column value of filter: %v.", decodeErr)
	}
	versions := columns[f.GetColumnName()]
	if len(versions) == 0 {
		return !f.GetFilterIfMissing(), nil
	}
	if f.GetLatestVersionOnly() {
		versions = versions[:1]
	}
	for _, v := range versions {
		order, err := compare(v.value, want)
		if err != nil {
			return false, invalid("Column %s: %v.", f.GetColumnName(), err)
		}
		if holds(f.GetComparator(), order) {
			return true, nil
		}
	}
	return false, nil
}

func holds(c otsprotocol.ComparatorType, order int) bool {
	switch c {
	case otsprotocol.ComparatorType_CT_EQUAL:
		return order == 0
	case otsprotocol.ComparatorType_CT_NOT_EQUAL:
		return order != 0
	case otsprotocol.ComparatorType_CT_GREATER_THAN:
		return order > 0
	case otsprotocol.ComparatorType_CT_GREATER_EQUAL:
		return order >= 0
	case otsprotocol.ComparatorType_CT_LESS_THAN:
		return order < 0
	}
	return order <= 0
}

// compare orders two values of one type: numbers by size, the rest by bytes.
func compare(a, b any) (int, error) {
	switch a := a.(type) {
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b), nil
		}
	case float64:
		if b, ok := b.(float64); ok {
			return cmp.Compare(a, b), nil
		}
	case string:
		if b, ok := b.(string); ok {
			return cmp.Compare(a, b), nil
		}
	case []byte:
		if b, ok := b.([]byte); ok {
			return cmp.Compare(string(a), string(b)), nil
		}
	case bool:
		if b, ok := b.(bool); ok {
			return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)), nil
		}
	}
	return 0, fmt.Errorf("cannot compare %T with %T", a, b)
}

// compareKeys orders whole primary keys; an infinity lies outside all values.
func compareKeys(a, b []any) int {
	for i := range a {
		ia, ib := rank(a[i]), rank(b[i])
		if ia != ib {
			return cmp.Compare(ia, ib)
		}
		if ia != 0 {
			continue
		}
		if order, err := compare(a[i], b[i]); err != nil {
			panic("tablestore: " + err.Error()) // the schema was checked before
		} else if order != 0 {
			return order
		}
	}
	return 0
}

func rank(v any) int {
	if i, ok := v.(infinity); ok {
		return int(i)
	}
	return 0
}
