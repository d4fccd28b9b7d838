# flows of the switch
