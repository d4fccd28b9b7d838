package thesis

import "testing"

func TestRows(t *testing.T) {
	refs, err := Rows()
	if err != nil {
		t.Fatal(err)
	}
	if len(refs) != 12 {
		t.Fatalf("%d rows, want the thesis' 12", len(refs))
	}
	want := Row{Type: "API", Pods: "MN", Connections: 200,
		Avg: [2]float64{1140.155, 603.667}, Min: [2]float64{92.237, 13.277}, Max: [2]float64{4003.147, 2177.723}}
	if refs[11] != want || refs[11].Ratio() < 1.88 || refs[11].Ratio() > 1.89 {
		t.Errorf("last row %+v, want %+v", refs[11], want)
	}
	for _, bad := range []string{"", "a,b\n", "t,p,n,1,2,3,4,5,6\nAPI,SN,x,1,2,3,4,5,6\n", "t,p,n,1,2,3,4,5,6\nAPI,SN,1,1,2,3,4,5,x\n"} {
		if _, err := parse([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
